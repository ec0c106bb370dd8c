"""One training, top to bottom."""

from typing import Any

import numpy as np
from pandas.api.types import is_numeric_dtype
from sklearn.pipeline import Pipeline

from . import checks, evaluation, features, model, plots, preprocessing, split
from .reproducibility import ProjectError, Result, Run
from .settings import Settings


def train(settings: Settings, run: Run) -> Result:
    """Train and evaluate a regressor.

    Parameters
    ----------
    settings : Settings
        The conf of this run.
    run : Run
        Gives data and random numbers; ordinary MLflow calls work here too.

    Returns
    -------
    Result
        What is logged, and what "the same result" is judged by.
    """
    table = run.dataset(settings.dataset)
    X, y = features.columns(table, settings)
    parts = split.parts(table, settings, run.rng("split"))
    run.stage("split", parts)
    run.stage("features", [X, y])
    if not is_numeric_dtype(y):
        raise ProjectError(f"target {settings.target!r} is not a number.", "Name a column of numbers in `target:`.")
    checks.warn_of_leaks(table, parts[0], settings)

    def fit(rows: np.ndarray[Any, Any], run: Run) -> Pipeline:
        pipeline = model.build(X, settings, run.rng("model"))
        pipeline.fit(X.iloc[rows], y.iloc[rows])
        return pipeline.set_params(forest__n_jobs=1)  # threads add what the trees predict in any order, to other bits

    fitted, answers, metrics = evaluation.evaluate(fit, X, y, parts, run)
    inputs, truth, predictions = X.loc[answers.index], y.loc[answers.index], answers["prediction"].to_numpy()
    columns = preprocessing.names(fitted["preprocessing"])
    figures = {
        "predicted_against_true": lambda: plots.predicted_against_true(truth, predictions),
        "residuals": lambda: plots.residuals(truth, predictions),
        "feature_importance": lambda: plots.feature_importance(fitted["forest"].feature_importances_, columns),
    }
    return Result(fitted, inputs, predictions, metrics, figures)
