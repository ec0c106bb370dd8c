"""What each column is worth to the model."""

import numpy as np
import pandas as pd

from .model import Linear


def of_columns(linear: Linear, X: pd.DataFrame, y: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """Give each column's share of the weights; shape (features,)."""
    sizes = np.abs(linear.weights[:-1])
    return np.asarray(sizes / sizes.sum() if sizes.any() else sizes)
