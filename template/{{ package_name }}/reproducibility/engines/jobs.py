"""What a worker is asked for, and what it says: one run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..common.files import write_whole

#: A run finished; it failed by itself, and would again; it was lost, with its machine or store; or a signal ended its
#: process: somebody's, or the system's for want of memory or a fault in compiled code.
FINISHED, FAILED, LOST, CRASHED = "finished", "failed", "lost", "crashed"
#: So often a job is begun that is lost with its machine, or whose process a signal ends.
TRIES = 3


@dataclass(frozen=True)
class Job:
    """One run: a trial of a sweep, or a step of a pipeline.

    Parameters
    ----------
    run : str
        The run that was made for it.
    step : str
        The step of the project.
    settings : dict
        Its conf, whole.
    standing : dict of str to str
        The runs that stand for the steps of which it takes something.
    whole : bool
        Whether its model and its pictures are stored, too, which can take longer than to train it.
    """

    run: str
    step: str
    settings: dict[str, Any]
    standing: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True

    def text(self) -> str:
        """Write it down, as YAML: a conf may have dates, and numbers for keys."""
        return yaml.safe_dump(asdict(self), sort_keys=False)

    def write(self, file: Path) -> None:
        """Write it down for a process of this machine."""
        write_whole(file, self.text())

    @classmethod
    def read(cls, file: Path) -> Job:
        """Read what `write` wrote."""
        return cls(**yaml.safe_load(file.read_text("utf-8")))


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Parameters
    ----------
    status : str
        `FINISHED`, `FAILED`, `LOST` or `CRASHED`.
    cause : str
        Why, where it did not finish: a line.
    modules : dict of str to str
        The digest of each file of the project that was imported, by path.
    features : list of str
        What the CPU can do that NumPy uses: another kind may give other bits.
    """

    status: str
    cause: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)
    features: list[str] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """Write it down for who asked."""
        write_whole(file, json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Outcome | None:
        """Read what `write` wrote; None where a worker came to no end."""
        return cls(**json.loads(file.read_text("utf-8"))) if file.exists() else None


def outcome_of(job: str | Path) -> Path:
    """Name the file for the outcome of a job, beside the one that describes it."""
    return Path(f"{job}.outcome")


def log_of(job: str | Path) -> Path:
    """Name the file for what a job prints, likewise."""
    return Path(f"{job}.log")
