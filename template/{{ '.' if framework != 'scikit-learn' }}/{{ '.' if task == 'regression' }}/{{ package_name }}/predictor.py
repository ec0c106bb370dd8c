"""What is stored and asked: preprocessing and model as one, from rows as they are in a table to values.

It imports nothing of the project's own, so that stored models go on working while the rest of the code changes.
"""

from typing import Any

import numpy as np
import pandas as pd

from .reproducibility.framework import FRAMEWORK


class Regressor:
    """A model that was fitted to numbers, with what makes them of rows.

    Parameters
    ----------
    preprocessing : transformer of scikit-learn
        Fitted.
    model : Any
        Gives the value of each row.
    """

    def __init__(self, preprocessing: Any, model: Any) -> None:
        self.preprocessing = preprocessing
        self.model = model

    def predict(self, X: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Give the value of each row; shape (rows,)."""
        return np.asarray(FRAMEWORK.predict(self.model, self.preprocessing.transform(X))).reshape(len(X))
