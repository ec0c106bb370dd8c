"""What a network looks at: how much worse it predicts without a column."""

from collections.abc import Callable

import numpy as np
import pandas as pd


def by_permutation(loss: Callable[[pd.DataFrame], float], X: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Measure how much the loss grows when a column's values are dealt out to other rows.

    Parameters
    ----------
    loss : callable
        Gives the loss of the model on a table like `X`.
    X : pandas.DataFrame, shape (rows, features)
        Held-out rows.
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
    before = loss(X)

    def dealt_out(name: str) -> pd.DataFrame:
        table = X.copy()
        table[name] = rng.permutation(X[name])
        return table

    growth = np.array([max(loss(dealt_out(name)) - before, 0.0) for name in X.columns])
    return growth / growth.sum() if growth.any() else growth
