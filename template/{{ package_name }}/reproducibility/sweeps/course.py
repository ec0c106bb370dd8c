"""The course of a sweep: which trials come next, and when it is over, from results alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .definition import Sweep
from .planner import Planner


class Course:
    """Gives the batches of a sweep, each after the results of the one before were taken.

    Parameters
    ----------
    sweep : Sweep
        What is searched, and how.

    Attributes
    ----------
    best : tuple of (float, int), optional
        The best value so far, and its trial: of equal ones the first.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.planner = Planner(sweep)
        self.best: tuple[float, int] | None = None
        self._without_better = 0

    def batches(self) -> Iterator[Mapping[int, dict[str, Any]]]:
        """Give the values of the trials of each batch, by number."""
        for numbers in self.sweep.batches():
            yield self.planner.propose(numbers)
            if self._is_over():
                return

    def take(self, values: Mapping[int, float | None]) -> None:
        """Take the results of the batch that was given last: the value of each trial, None of one that failed."""
        self.planner.observe(values)
        before = self.best
        for number, value in sorted(values.items()):
            if value is not None and (self.best is None or self.sweep.is_better(value, self.best[0])):
                self.best = value, number
        self._without_better = 0 if self.best != before else self._without_better + 1

    def _is_over(self) -> bool:
        stop = self.sweep.stop
        is_good_enough = (
            stop.value is not None and self.best is not None and not self.sweep.is_better(stop.value, self.best[0])
        )
        return is_good_enough or (stop.patience is not None and self._without_better >= stop.patience)
