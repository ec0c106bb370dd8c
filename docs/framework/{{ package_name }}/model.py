"""The model: a weighted sum of the columns."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass
class Linear:
    """Weights of the columns.

    Parameters
    ----------
    weights : ndarray of float, shape (features + 1,)
        Of the scaled columns, and of a constant.
    mean, scale : ndarray of float, shape (features,)
        Of each column.
    logistic : bool
        Whether the sum becomes a probability.
    """

    weights: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    logistic: bool

    def matrix(self, X: pd.DataFrame) -> np.ndarray:
        """Scale the columns, and add a constant; shape (rows, features + 1)."""
        return np.column_stack([(X.to_numpy() - self.mean) / self.scale, np.ones(len(X))])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Predict for each row; shape (rows,)."""
        values = self.matrix(X) @ self.weights
        return np.asarray(1 / (1 + np.exp(-values)) if self.logistic else values)


def predict(linear: Linear, X: pd.DataFrame) -> np.ndarray:
    """Predict for rows of a table: probabilities of the positive class, or values of the target; shape (rows,)."""
    return linear.predict(X)
