"""What the trees look at: how much their splits by a column reduced the loss."""

from typing import Any

import numpy as np
import pandas as pd

from . import preprocessing


def of_columns(predictor: Any, X: pd.DataFrame, y: pd.Series, rng: np.random.Generator) -> pd.Series:
    """Add up what the splits by each column, or by a category of it, gained in training.

    Parameters
    ----------
    predictor : Classifier or Regressor
        The trained model.
    X, y, rng
        Not used: trees know what they gained; another model would be measured on these held-out rows.

    Returns
    -------
    pandas.Series of float
        Each one's share of what all splits gained.
    """
    names = preprocessing.names(predictor.preprocessing)
    gain = predictor.model.feature_importance("gain")
    return pd.Series(gain / gain.sum() if gain.any() else gain, names)
