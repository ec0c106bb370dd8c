"""A process that is told of jobs and tells how they ended, a line each."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from concurrent.futures import Future
from typing import Any

from .jobs import LOST, Outcome


class Correspondent:
    """Starts such a process, and knows which jobs it was told of; `heard` reads what it tells.

    Parameters
    ----------
    command : list of str
        What it executes.
    gone : str
        Why jobs are lost that it was told of, when it ends.
    patience : float
        Seconds in which it ends what goes on when nothing more is told to it; then it is killed.
    **options
        Of `subprocess.Popen`.
    """

    def __init__(self, command: list[str], gone: str, patience: float, **options: Any) -> None:
        self._gone = gone
        self._patience = patience
        self._going: dict[str, Future[Outcome]] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, **options
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether it takes jobs."""
        return not self._ended

    @property
    def idle(self) -> bool:
        """Whether it does none."""
        return not self._going

    def ask(self, job: str, line: str) -> Future[Outcome]:
        """Tell it of a job, which has a name of its own."""
        future: Future[Outcome] = Future()
        with self._changed:
            if self._ended:
                future.set_result(Outcome(LOST, self._gone))
                return future
            self._going[job] = future
        self.tell(line)
        return future

    def tell(self, line: str) -> None:
        """Tell it something."""
        with contextlib.suppress(OSError):  # it ended just now: the listener says so
            print(line, file=self._process.stdin, flush=True)

    def heard(self, line: str) -> None:
        """Take what it tells; called in a thread of its own."""
        raise NotImplementedError

    def settle(self, job: str, outcome: Outcome) -> None:
        """Say how a job ended."""
        with self._changed:
            future = self._going.pop(job)
        future.set_result(outcome)

    def close(self) -> None:
        """Tell it nothing more, and wait for its end."""
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._listener.join()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self.heard(line.rstrip("\n"))
        with self._changed:
            self._ended, left = True, [*self._going.values()]
            self._going.clear()
            self._changed.notify_all()
        for future in left:
            future.set_result(Outcome(LOST, self._gone))
