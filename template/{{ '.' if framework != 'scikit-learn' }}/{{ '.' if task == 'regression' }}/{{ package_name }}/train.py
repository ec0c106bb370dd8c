"""One training, top to bottom."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype

from . import checks, curves, evaluation, features, fit, importance, plots, preprocessing, split
from .fitted import Fitted
from .predictor import Regressor
from .reproducibility import ProjectError, Result, Run
from .settings import Settings


def train(settings: Settings, run: Run) -> Result:
    """Train and evaluate a regressor; stop when the validation rows are predicted no better any more.

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
    values = y.to_numpy("float64")
    fits: list[Fitted[Any]] = []

    def learn(rows: np.ndarray[Any, Any], run: Run) -> Regressor:
        parts = split.once(table.iloc[rows], settings, run.rng("validation"), settings.validation_fraction)
        learned, watched = (rows[part] for part in parts)
        run.stage("validation", [learned, watched])
        columns = preprocessing.build(X).fit(X.iloc[learned])
        numbers = [(columns.transform(X.iloc[part]), values[part]) for part in (learned, watched)]
        fits.append(fit.fit(numbers[0], numbers[1], settings, run))
        return Regressor(columns, fits[-1].model)

    fitted, answers, metrics = evaluation.evaluate(learn, X, y, parts, run)
    history, best = fits[-1].history, fits[-1].best
    curves.log(history)
    inputs, truth, predictions = X.loc[answers.index], y.loc[answers.index], answers["prediction"].to_numpy()

    def importances() -> Figure:
        found = importance.of_columns(fitted, inputs, truth, run.rng("importance"))
        return plots.feature_importance(found.to_numpy(), list(found.index))

    figures = {
        "predicted_against_true": lambda: plots.predicted_against_true(truth, predictions),
        "residuals": lambda: plots.residuals(truth, predictions),
        "feature_importance": importances,
        "curves": lambda: curves.draw(history, best, step=fit.STEP),
    }
    return Result(fitted, inputs, predictions, metrics, figures)
