"""What the trees look at: how much their splits by a column reduced the loss."""

from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd


def of_columns(booster: lgb.Booster, X: pd.DataFrame, y: pd.Series, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Add up what each column's splits gained in training.

    Parameters
    ----------
    booster : lightgbm.Booster
        The trained model.
    X, y, rng
        Not used: trees know what they gained; another model would be measured on these held-out rows.

    Returns
    -------
    numpy.ndarray of float, shape (features,)
        Each column's share of what all splits gained.
    """
    gain = booster.feature_importance("gain")
    return np.asarray(gain / gain.sum() if gain.any() else gain)
