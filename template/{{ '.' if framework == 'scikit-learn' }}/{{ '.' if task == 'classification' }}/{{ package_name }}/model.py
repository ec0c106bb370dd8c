"""The model: a random forest of classification trees, and what makes numbers of the columns for it."""

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from . import preprocessing
from .settings import Settings


def build(X: pd.DataFrame, settings: Settings, rng: np.random.Generator) -> Pipeline:
    """Make the unfitted model, which takes rows as they are in the table.

    Parameters
    ----------
    X : pandas.DataFrame, shape (rows, features)
        The columns to learn from; only their types count.
    settings : Settings
        `model` and `threads` are used.
    rng : numpy.random.Generator
        Draws the forest's seed.

    Returns
    -------
    sklearn.pipeline.Pipeline
    """
    forest = RandomForestClassifier(
        **settings.model.model_dump(),
        n_jobs=settings.threads,
        random_state=int(rng.integers(2**32)),
    )
    return Pipeline([("preprocessing", preprocessing.build(X)), ("forest", forest)])
