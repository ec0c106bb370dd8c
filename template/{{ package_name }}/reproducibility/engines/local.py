"""Jobs on this machine, each in a process of its own, forked from one that has imported everything if it can be."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ..common import parent
from ..common.project import PACKAGE, ROOT
from ..framework import FRAMEWORK
from ..randomness import launch
from .correspondent import Correspondent
from .jobs import CRASHED, LOST, Job, Outcome, log_of, outcome_of

#: So many processes that wait to be forked are kept: each is of one seed and one number of threads.
SERVERS = 4
#: Whether jobs can be forked.
FORKS = FRAMEWORK.forks and os.name == "posix"
#: Seconds in which a process that was told to end marks its run.
PATIENCE = 40


class Local:
    """Does jobs on this machine.

    Parameters
    ----------
    workers : int
        How many at once.
    folder : Path
        For what is said to and by the processes.
    servers : ForkServers
        Those that were started before; its own from now on.
    """

    def __init__(self, workers: int, folder: Path, servers: ForkServers) -> None:
        self.width = workers
        self._folder = folder
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(workers)
        self._servers = servers
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def wait(self) -> None:
        """Begin at once: this machine is there."""

    def submit(self, job: Job) -> Future[Outcome]:
        """Begin a job, in a process of its own."""
        file = self._folder / f"{next(self._numbers)}.yaml"
        job.write(file)
        if not FORKS:
            return self._pool.submit(self._fresh, job, file)
        return self._servers.of(job).submit(file)

    def close(self) -> None:
        """End the processes, which mark their runs."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.terminate()
        self._servers.close()
        self._pool.shutdown()

    def _fresh(self, job: Job, file: Path) -> Outcome:
        """Do a job in a new process."""
        with log_of(file).open("w+b") as log:  # from which the process reads its log
            with self._lock:
                if self._closed:
                    return Outcome(LOST, "all of it was ended")
                process = subprocess.Popen(
                    [sys.executable, "-m", PACKAGE, "job", str(file)],
                    cwd=ROOT,
                    env=_variables(job),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                self._processes.add(process)
            code = process.wait()
            with self._lock:
                self._processes.discard(process)
        return _outcome(file, code)


class ForkServers:
    """The processes that jobs are forked from, by step, seed and number of threads."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, ...], _ForkServer] = {}

    def of(self, job: Job) -> _ForkServer:
        """Give the process that is forked for a job; one that died is replaced, and of too many the eldest ends."""
        key = job.step, *_own_variables(job).values()
        found = self._servers.pop(key, None)
        if found is None or not found.alive:
            idle = [other for other, server in self._servers.items() if server.idle]
            for other in idle[: max(0, len(self._servers) - SERVERS + 1)]:
                self._servers.pop(other).close()
            found = _ForkServer(job)
        self._servers[key] = found  # the one that was asked last stands last
        return found

    def close(self) -> None:
        """End them, and what was forked from them, which marks its runs."""
        for server in self._servers.values():
            server.close()


class _ForkServer(Correspondent):
    """A process that has imported everything; see `fork_server`.

    Parameters
    ----------
    job : Job
        The first that it is for: its seed and number of threads are those of the process.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(
            [sys.executable, "-m", PACKAGE, "jobs", job.step],
            "the process that jobs are forked from ended",
            PATIENCE,
            cwd=ROOT,
            env=_variables(job),
        )

    def submit(self, file: Path) -> Future[Outcome]:
        """Have a job done in a fork of it."""
        return self.ask(str(file), str(file))

    def close(self) -> None:
        """End it; at once if it has no job that could be in the middle of something."""
        if self.idle:
            self._process.terminate()
        super().close()

    def heard(self, line: str) -> None:
        """Take the path of a job, and how its process ended."""
        file, _, code = line.partition("\t")
        self.settle(file, _outcome(Path(file), int(code)))


def _variables(job: Job) -> dict[str, str]:
    """Give the environment variables of a process for a job: those of a run, and of no other run."""
    return launch.child("MLFLOW_RUN_ID") | _own_variables(job) | parent.told()


def _own_variables(job: Job) -> dict[str, str]:
    return launch.variables(job.settings.get("seed"), job.settings.get("threads"))  # type: ignore[arg-type]


def _outcome(file: Path, code: int) -> Outcome:
    """Read how a job ended; of a process that could not say so, its exit code is all that is known."""
    outcome, log = outcome_of(file), log_of(file)
    try:
        if found := Outcome.read(outcome):
            return found
        if code < 0:
            return Outcome(CRASHED, f"its process was ended by {signal.Signals(-code).name}")
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        return Outcome(LOST, lines[-1][:200] if lines else f"its process ended with exit code {code}")
    finally:
        for written in (file, outcome, log):
            written.unlink(missing_ok=True)
