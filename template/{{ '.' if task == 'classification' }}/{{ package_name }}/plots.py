"""The pictures of a run. Figures are made without pyplot, which would need a screen and keep them all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay


def confusion_matrix(truth: pd.Series, predictions: np.ndarray) -> Figure:
    """Count predicted against true classes.

    Parameters
    ----------
    truth, predictions : array of labels, shape (rows,)

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(truth, predictions, ax=axes, cmap="Blues", colorbar=False)
    axes.set_title("Confusion matrix, held-out rows")
    return figure


def roc(truth: pd.Series, scores: np.ndarray) -> Figure:
    """Draw the true-positive against the false-positive rate over all thresholds.

    Parameters
    ----------
    truth : Series of bool, shape (rows,)
        Whether a row is of the positive class.
    scores : ndarray of float, shape (rows,)
        Its predicted probability.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    RocCurveDisplay.from_predictions(truth, scores, ax=axes, name="model", plot_chance_level=True)
    axes.set_title("ROC, held-out rows")
    return figure


def feature_importance(importances: np.ndarray, names: Sequence[str], top: int = 15) -> Figure:
    """Rank the columns by how much they reduce the loss.

    Parameters
    ----------
    importances : ndarray of float, shape (features,)
        They add up to 1.
    names : sequence of str
        The columns.
    top : int
        How many are shown.

    Returns
    -------
    matplotlib.figure.Figure
    """
    order = np.argsort(importances, kind="stable")[-top:]
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    labels = [str(names[i]).replace("$", r"\$") for i in order]  # between two $ would be a formula
    axes.barh(range(len(order)), importances[order], tick_label=labels)
    axes.set_title("Feature importance")
    axes.set_xlabel("share of the reduced loss")
    return figure
