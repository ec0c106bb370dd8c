"""One training, top to bottom."""

from pandas.api.types import is_numeric_dtype
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from . import features, model, plots
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
    data = features.split(table, settings, run.rng("split"))
    run.stage("split", [data.X_train.index, data.X_test.index])
    run.stage("features", [data.X_train, data.X_test])
    if not is_numeric_dtype(data.y_train):
        raise ProjectError(f"target {settings.target!r} is not a number.", "Name a column of numbers in `target:`.")

    forest = model.build(settings, run.rng("model"))
    forest.fit(data.X_train, data.y_train)
    forest.set_params(n_jobs=1)  # threads add the predictions of the trees in any order, to other last bits

    predictions = forest.predict(data.X_test)
    metrics = {
        "r2": r2_score(data.y_test, predictions),
        "rmse": root_mean_squared_error(data.y_test, predictions),
        "mae": mean_absolute_error(data.y_test, predictions),
    }
    figures = {
        "predicted_against_true": plots.predicted_against_true(data.y_test, predictions),
        "residuals": plots.residuals(data.y_test, predictions),
        "feature_importance": plots.feature_importance(forest.feature_importances_, list(data.X_train.columns)),
    }
    return Result(forest, data.X_test, predictions, metrics, figures)
