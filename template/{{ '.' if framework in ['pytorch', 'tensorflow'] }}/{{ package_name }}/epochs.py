"""What goes by the number of an epoch."""

import math
from collections.abc import Sequence


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


def best(losses: Sequence[float]) -> int:
    """Tell which epoch's weights are kept, counted from 1: of equally good ones the last.

    Parameters
    ----------
    losses : sequence of float
        What is lost on the validation rows after each.

    Returns
    -------
    int
    """
    return max(epoch for epoch, loss in enumerate(losses, 1) if loss == min(losses))
