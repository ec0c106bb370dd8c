"""A bar for the rounds of a training, where a person is looking."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress


class Advance(Protocol):
    """Told after each round what is lost on the validation rows."""

    def __call__(self, loss: float) -> None: ...


def is_over(losses: list[float], patience: int) -> bool:
    """Tell whether the last rounds have brought nothing.

    Parameters
    ----------
    losses : list of float
        What is lost on the validation rows after each round.
    patience : int
        How many rounds may pass without a better one.
    """
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


@contextmanager
def bar(rounds: int, done: int) -> Iterator[Advance]:
    """Show how far a training is; nothing in a log file or a pipe.

    Parameters
    ----------
    rounds : int
        How many there are at most.
    done : int
        How many were done before.

    Yields
    ------
    Advance
    """
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("training", total=rounds, completed=done)
        yield lambda loss: progress.update(task, advance=1, description=f"validation {loss:.4f}")
