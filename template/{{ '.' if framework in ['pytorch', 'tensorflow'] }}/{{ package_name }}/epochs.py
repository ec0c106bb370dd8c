"""The epochs of a training: when it stops, what it keeps, and how fast it learns in each."""

import math
from collections.abc import Callable
from typing import Protocol

from . import progress
from .fitted import History
from .reproducibility import Run
from .settings import ModelSettings


class State(Protocol):
    """What changes from epoch to epoch, and what a resumed training begins with."""

    history: History

    def keep(self) -> None:
        """Take the weights as they are for the best so far."""

    def files(self) -> dict[str, bytes]:
        """Give what a checkpoint keeps."""


def train(
    state: State, learn: Callable[[int], float], watch: Callable[[], float], settings: ModelSettings, run: Run
) -> int:
    """Train until the validation loss has not fallen for a while; keep checkpoints.

    Parameters
    ----------
    state : State
        Of a new training, or of one that goes on from a checkpoint.
    learn : callable
        Trains for the epoch of this number, counted from 0, and gives the mean loss.
    watch : callable
        Gives the mean loss on what decides when to stop.
    settings : ModelSettings
        `epochs`, `early_stopping_epochs` and `checkpoint_epochs` are used.
    run : Run
        Keeps the checkpoints.

    Returns
    -------
    int
        The best epoch, counted from 1: of equally good ones the last.
    """
    losses = state.history["validation"]
    with progress.bar(settings.epochs, len(losses)) as advance:
        while len(losses) < settings.epochs and not progress.is_over(losses, settings.early_stopping_epochs):
            state.history["train"].append(learn(len(losses)))
            losses.append(watch())
            if losses[-1] == min(losses):
                state.keep()
            if len(losses) % settings.checkpoint_epochs == 0:
                run.checkpoint(state.files())
            advance(losses[-1])
    return max(epoch for epoch, loss in enumerate(losses, 1) if loss == min(losses))


def learning_rate(first: float, epoch: int, epochs: int) -> float:
    """Give the learning rate of an epoch: from the first value down to nearly zero, along half a cosine.

    Parameters
    ----------
    first : float
        The rate of epoch 0.
    epoch, epochs : int
        Which epoch, counted from 0, of how many at most.

    Returns
    -------
    float

    Notes
    -----
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, without the restarts.
    It depends on the epoch alone, so a resumed training needs no state for it.
    """
    return first * (1 + math.cos(math.pi * epoch / epochs)) / 2
