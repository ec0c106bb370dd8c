"""What a network looks at: how much worse it predicts without a column."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, root_mean_squared_error


def of_columns(predictor: Any, X: pd.DataFrame, y: pd.Series, rng: np.random.Generator) -> pd.Series:
    """Measure how much the loss grows when a column's values are dealt out to other rows.

    Parameters
    ----------
    predictor : Classifier or Regressor
        The trained model.
    X : pandas.DataFrame, shape (rows, features)
        Held-out rows.
    y : pandas.Series, shape (rows,)
        Their target.
    rng : numpy.random.Generator
        Deals the values out.

    Returns
    -------
    pandas.Series of float
        Each column's share of the growth of all; 0 where the loss does not grow.

    Notes
    -----
    Breiman, "Random Forests", 2001, section 10. Of two columns that say the same, neither seems to matter.
    """

    def loss(rows: pd.DataFrame) -> float:
        if hasattr(predictor, "predict_proba"):
            return float(log_loss(y, predictor.predict_proba(rows), labels=predictor.classes_))
        return float(root_mean_squared_error(y, predictor.predict(rows)))

    def dealt_out(name: str) -> pd.DataFrame:
        table = X.copy()
        table[name] = rng.permutation(X[name])
        return table

    before = loss(X)
    growth = pd.Series({name: max(loss(dealt_out(name)) - before, 0.0) for name in X.columns})
    return growth / growth.sum() if growth.any() else growth
