"""What the model lost on training and validation rows after each round or epoch: logged step by step, and drawn."""

import time
from collections.abc import Mapping, Sequence

import mlflow
from matplotlib.figure import Figure
from mlflow.entities import Metric


def log(history: Mapping[str, Sequence[float]]) -> None:
    """Log curves to the active run in one request, or nothing where there is none.

    Parameters
    ----------
    history : Mapping of str to sequence of float
        For each curve, its value after each round or epoch.
    """
    active = mlflow.active_run()
    if active is None:
        return
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, step) for name, curve in history.items() for step, value in enumerate(curve, 1)]
    for first in range(0, len(points), 1000):  # MLflow takes as many at once
        mlflow.MlflowClient().log_batch(active.info.run_id, metrics=points[first : first + 1000])


def draw(history: Mapping[str, Sequence[float]], best: int, step: str) -> Figure:
    """Draw curves over the rounds or epochs.

    Parameters
    ----------
    history : Mapping of str to sequence of float
        For each curve, its value after each round or epoch.
    best : int
        The one whose model was kept, counted from 1.
    step : str
        What they are called: "round" or "epoch".

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in history.items():
        axes.plot(range(1, len(curve) + 1), curve, label=name)
    axes.axvline(best, color="grey", linestyle="--", label=f"kept: {step} {best}")
    axes.set_title("Training curves")
    axes.set_xlabel(step)
    axes.legend()
    return figure
