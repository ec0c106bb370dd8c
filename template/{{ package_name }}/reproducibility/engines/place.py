"""Where jobs are done: here, or on a cluster of which it is known how to get to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .cluster import Cluster, Slurm
from .engine import Engine
from .jobs import Job
from .local import FORKS, ForkServers, Local


@dataclass(frozen=True)
class Place:
    """Where jobs are done.

    Parameters
    ----------
    workers : int, optional
        How many at once; by default as many as the cores are enough for. Of Slurm, how many workers it starts.
    scheduler : str, optional
        The address of a scheduler of Dask's.
    slurm : Slurm, optional
        What Slurm is asked for.
    python : Path, optional
        Of a cluster: the interpreter of an environment that has Dask.
    """

    workers: int | None = None
    scheduler: str | None = None
    slurm: Slurm | None = None
    python: Path | None = None
    _servers: ForkServers = field(default_factory=ForkServers, init=False)

    def prepare(self, job: Job) -> None:
        """Start what such jobs are forked from here: it takes seconds to import everything. This job is not done."""
        if self.python is None and FORKS:
            self._servers.of(job)

    def close(self) -> None:
        """End what was started before there was an engine."""
        self._servers.close()

    def engine(self, width: int, scratch: Path) -> Engine:
        """Start what does the jobs."""
        if self.python is None:
            return Local(width, scratch, self._servers)
        return Cluster(scratch, self.python, self.scheduler, self.slurm, width)
