"""How large the steps of a training are."""

import math


def cosine(first: float, epoch: int, epochs: int) -> float:
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
