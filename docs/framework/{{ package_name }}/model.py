"""The model: a weighted sum of the columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np


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

    weights: np.ndarray[Any, Any]
    mean: np.ndarray[Any, Any]
    scale: np.ndarray[Any, Any]
    logistic: bool

    def matrix(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Scale the columns, and add a constant; shape (rows, features + 1)."""
        return np.column_stack([(numbers - self.mean) / self.scale, np.ones(len(numbers))])

    def predict(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Predict for each row; shape (rows,)."""
        values = self.matrix(numbers) @ self.weights
        return np.asarray(1 / (1 + np.exp(-values)) if self.logistic else values)
