"""What each column is worth to the model."""

from typing import Any

import numpy as np
import pandas as pd

from . import preprocessing


def of_columns(predictor: Any, X: pd.DataFrame, y: pd.Series, rng: np.random.Generator) -> pd.Series:
    """Give each column's share of the weights, by its name."""
    sizes = np.abs(predictor.model.weights[:-1])
    return pd.Series(sizes / sizes.sum() if sizes.any() else sizes, preprocessing.names(predictor.preprocessing))
