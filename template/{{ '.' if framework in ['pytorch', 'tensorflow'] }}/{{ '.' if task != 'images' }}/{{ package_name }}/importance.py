"""What a network looks at: how much worse it predicts without a column."""

from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype
from sklearn.metrics import log_loss, root_mean_squared_error

from .model import predict


def of_columns(network: Any, X: pd.DataFrame, y: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """Measure how much the loss grows when a column's values are dealt out to other rows.

    Parameters
    ----------
    network : Network or keras.Model
        The trained network.
    X : pandas.DataFrame, shape (rows, features)
        Held-out rows.
    y : pandas.Series, shape (rows,)
        Their target: bool, for the logistic loss; or numbers, for the root of the squared one.
    rng : numpy.random.Generator
        Deals the values out.

    Returns
    -------
    numpy.ndarray of float, shape (features,)
        Each column's share of the growth of all; 0 where the loss does not grow.

    Notes
    -----
    Breiman, "Random Forests", 2001, section 10. Of two columns that say the same, neither seems to matter.
    """
    loss = log_loss if is_bool_dtype(y) else root_mean_squared_error
    before = loss(y, predict(network, X))

    def dealt_out(name: str) -> pd.DataFrame:
        table = X.copy()
        table[name] = rng.permutation(X[name])
        return table

    growth = np.array([max(loss(y, predict(network, dealt_out(name))) - before, 0.0) for name in X.columns])
    return growth / growth.sum() if growth.any() else growth
