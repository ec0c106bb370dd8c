"""A bar for the rounds or epochs of a training, where a person is looking."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress


class Advance(Protocol):
    """Told after each round or epoch what is lost on the validation rows."""

    def __call__(self, loss: float) -> None: ...


def is_over(losses: list[float], patience: int) -> bool:
    """Tell whether the last rounds or epochs have brought nothing.

    Parameters
    ----------
    losses : list of float
        What is lost on the validation rows after each.
    patience : int
        How many rounds may pass without a better one.
    """
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


@contextmanager
def bar(steps: int, done: int) -> Iterator[Advance]:
    """Show how far a training is; nothing in a log file or a pipe.

    Parameters
    ----------
    steps : int
        How many there are at most.
    done : int
        How many were done before.

    Yields
    ------
    Advance
    """
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("training", total=steps, completed=done)
        yield lambda loss: progress.update(task, advance=1, description=f"validation {loss:.4f}")
