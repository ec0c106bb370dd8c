"""What every engine does, whatever it is."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from .jobs import Job, Outcome


class Engine(Protocol):
    """Does jobs side by side, in any order."""

    #: How many it can do at once.
    width: int

    def wait(self) -> None:
        """Wait until it can do the first."""

    def submit(self, job: Job) -> Future[Outcome]:
        """Begin a job; its run is there, and its outcome is `LOST` where nobody can tell how it ended."""

    def close(self) -> None:
        """End what goes on, and everything that was started for it."""
