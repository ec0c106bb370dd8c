"""The model: a random forest of classification trees."""

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from .settings import Settings


def build(settings: Settings, rng: np.random.Generator) -> RandomForestClassifier:
    """Make the unfitted model.

    Parameters
    ----------
    settings : Settings
        `model` and `threads` are used.
    rng : numpy.random.Generator
        Draws the forest's seed.

    Returns
    -------
    sklearn.ensemble.RandomForestClassifier
    """
    return RandomForestClassifier(
        **settings.model.model_dump(),
        n_jobs=settings.threads,
        random_state=int(rng.integers(2**32)),
    )
