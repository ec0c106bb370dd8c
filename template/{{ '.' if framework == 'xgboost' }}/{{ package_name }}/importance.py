"""What the trees look at: how much their splits by a column reduced the loss."""

from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb


def of_columns(booster: xgb.Booster, X: pd.DataFrame, y: pd.Series, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Add up what each column's splits gained in training.

    Parameters
    ----------
    booster : xgboost.Booster
        The trained model.
    X, y, rng
        Not used: trees know what they gained; another model would be measured on these held-out rows.

    Returns
    -------
    numpy.ndarray of float, shape (features,)
        Each column's share of what all splits gained.
    """
    gains = booster.get_score(importance_type="total_gain")
    gain = np.array([gains.get(f"f{i}", 0.0) for i in range(booster.num_features())])
    return gain / gain.sum() if gain.any() else gain
