"""The pictures of a run. Figures are made without pyplot, which would need a screen and keep them all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay


def confusion_matrix(truth: pd.Series, predictions: pd.Series) -> Figure:
    """Count predicted against true classes.

    Parameters
    ----------
    truth, predictions : Series of labels, shape (rows,)

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(truth, predictions, ax=axes, cmap="Blues", colorbar=False)
    axes.set_title("Confusion matrix, held-out rows")
    return figure


def roc(truth: pd.Series, probabilities: pd.DataFrame, classes: np.ndarray) -> Figure:
    """Draw the true-positive against the false-positive rate over all thresholds.

    Parameters
    ----------
    truth : Series of labels, shape (rows,)
    probabilities : DataFrame of float, shape (rows, classes)
        What is predicted for each class.
    classes : ndarray of labels
        In the order of these columns. Of two the second is drawn, of more each against the others.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    several = len(classes) > 2
    for number, name in enumerate(classes) if several else [(1, classes[1])]:
        label = str(name).replace("$", r"\$") if several else "model"  # between two $ would be a formula
        RocCurveDisplay.from_predictions(truth == name, probabilities.iloc[:, number], ax=axes, name=label)
    axes.plot([0, 1], [0, 1], "k--", label="chance")
    axes.legend(loc="lower right")
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
