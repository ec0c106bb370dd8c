"""What is stored and asked: preprocessing and model as one, from rows as they are in a table to labels.

It imports nothing of the project's own, so that stored models go on working while the rest of the code changes.
"""

from typing import Any

import numpy as np
import pandas as pd

from .reproducibility.framework import FRAMEWORK


class Classifier:
    """A model that was fitted to numbers, with what makes them of rows and classes of its answers.

    Parameters
    ----------
    preprocessing : transformer of scikit-learn
        Fitted.
    model : Any
        Gives a probability for each class; or, of two classes, for the second alone.
    classes : ndarray of labels, shape (classes,)
        Sorted.
    """

    def __init__(self, preprocessing: Any, model: Any, classes: np.ndarray[Any, Any]) -> None:
        self.preprocessing = preprocessing
        self.model = model
        self.classes_ = classes

    def predict(self, X: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Give the most probable label of each row; shape (rows,)."""
        labels: np.ndarray[Any, Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Give the probability of each class; shape (rows, classes)."""
        found = np.asarray(FRAMEWORK.predict(self.model, self.preprocessing.transform(X))).reshape(len(X), -1)
        return found if found.shape[1] > 1 else np.hstack([1 - found, found])
