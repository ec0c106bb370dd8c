"""The pictures of a run. Figures are made without pyplot, which would need a screen and keep them all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import PredictionErrorDisplay


def predicted_against_true(truth: pd.Series, predictions: np.ndarray) -> Figure:
    """Draw each held-out row at its true and its predicted value.

    Parameters
    ----------
    truth, predictions : array of float, shape (rows,)

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    PredictionErrorDisplay(y_true=truth, y_pred=predictions).plot(ax=axes, kind="actual_vs_predicted")
    axes.set_title("Predicted against true, held-out rows")
    return figure


def residuals(truth: pd.Series, predictions: np.ndarray) -> Figure:
    """Draw what the model misses over what it predicts: a pattern means something is left to learn.

    Parameters
    ----------
    truth, predictions : array of float, shape (rows,)

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    PredictionErrorDisplay(y_true=truth, y_pred=predictions).plot(ax=axes, kind="residual_vs_predicted")
    axes.set_title("Residuals, held-out rows")
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
