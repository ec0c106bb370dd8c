"""One training, top to bottom."""

from pandas.api.types import is_numeric_dtype
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from . import curves, features, fit, importance, model, plots
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
    data = features.split(table, settings, run.rng("split"))
    run.stage("split", [data.X_train.index, data.X_test.index])
    run.stage("features", [data.X_train, data.X_test])
    if not is_numeric_dtype(data.y_train):
        raise ProjectError(f"target {settings.target!r} is not a number.", "Name a column of numbers in `target:`.")

    rest = table.loc[data.X_train.index]
    rows = features.split(rest, settings, run.rng("validation"), settings.validation_fraction)
    run.stage("validation", [rows.X_train.index, rows.X_test.index])
    fitted, history, best = fit.fit(
        (rows.X_train, rows.y_train),
        (rows.X_test, rows.y_test),
        settings,
        run,
    )
    curves.log(history)

    predictions = model.predict(fitted, data.X_test)
    metrics = {
        "r2": r2_score(data.y_test, predictions),
        "rmse": root_mean_squared_error(data.y_test, predictions),
        "mae": mean_absolute_error(data.y_test, predictions),
    }
    importances = importance.of_columns(fitted, data.X_test, data.y_test, run.rng("importance"))
    figures = {
        "predicted_against_true": plots.predicted_against_true(data.y_test, predictions),
        "residuals": plots.residuals(data.y_test, predictions),
        "feature_importance": plots.feature_importance(importances, list(data.X_train.columns)),
        "curves": curves.draw(history, best, step=fit.STEP),
    }
    return Result(fitted, data.X_test, predictions, metrics, figures)
