"""The model: a random forest of regression trees."""

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from .settings import Settings


def build(settings: Settings, rng: np.random.Generator) -> RandomForestRegressor:
    """Make the unfitted model.

    Parameters
    ----------
    settings : Settings
        `model` and `threads` are used.
    rng : numpy.random.Generator
        Draws the forest's seed.

    Returns
    -------
    sklearn.ensemble.RandomForestRegressor
    """
    return RandomForestRegressor(
        **settings.model.model_dump(),
        n_jobs=settings.threads,
        random_state=int(rng.integers(2**32)),
    )
