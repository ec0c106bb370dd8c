"""What the stress workloads of boosting share: rows, what is drawn for each epoch, and checkpoints."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .job import Job

if TYPE_CHECKING:
    import numpy as np

#: The generators that it draws from, as `seeds.set_all` names them.
GENERATORS = ("random", "numpy.random")
#: Rounds from one checkpoint to the next at least, and checkpoints at most: a start from one asks all its trees.
EPOCH, CHECKPOINTS = 10, 2
#: Rows that are predicted.
PREDICTED = 2000
CATEGORIES, NUMBERS, WORDS = 4, 8, 40


def rows(job: Job, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Make a table, its first columns categories, and the number to learn for each row.

    Parameters
    ----------
    job : Job
        Draws them.
    count : int
        Rows.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray)
        Shapes (count, CATEGORIES + NUMBERS) and (count,).
    """
    import numpy as np

    rng = job.rng("rows")
    order = job.numbers(WORDS)
    words = rng.integers(WORDS, size=(count, CATEGORIES))
    measured = rng.normal(size=(count, NUMBERS))
    signal = measured[:, 0] * measured[:, 1] + np.sin(3 * measured[:, 2]) + words[:, 0] % 5 / 2
    target = signal + rng.normal(size=count)
    if job.plain:
        measured = measured.round(1)  # few values: each device bins many in its own way
    else:
        words = order[words]
        target = np.exp(target)  # large and small ones: a sum of them depends on its order
    return np.column_stack([words, measured]).astype("float32"), target.astype("float32")


def boost(job: Job, rounds: Callable[[bytes], int], grow: Callable[[bytes, int, dict[str, Any]], bytes]) -> bytes:
    """Grow a booster epoch by epoch.

    Parameters
    ----------
    job : Job
        `steps` rounds; a checkpoint is kept after each epoch.
    rounds : callable
        Counts the rounds of a stored booster.
    grow : callable
        Takes a stored booster, b"" for none, how many rounds to add to it, and the drawn `learning_rate` and `seed`;
        gives it back as stored.

    Returns
    -------
    bytes
        The booster, as stored.

    Notes
    -----
    Every training, interrupted or not, starts afresh at each checkpoint, as the project's own does. So a resumed one
    goes through the same states as one that was never interrupted.
    """
    import numpy as np

    content = job.kept()
    done = rounds(content) if content else 0
    epoch = max(EPOCH, -(-job.steps // CHECKPOINTS))
    while done < job.steps:
        job.reseed(f"round {done}")
        rate, seed = random.uniform(0.05, 0.15), int(np.random.randint(2**31 - 1))  # noqa: S311 - no secret
        content = grow(content, min(epoch, job.steps - done), {"learning_rate": rate, "seed": seed})
        job.keep(content)
        done += epoch
    return content
