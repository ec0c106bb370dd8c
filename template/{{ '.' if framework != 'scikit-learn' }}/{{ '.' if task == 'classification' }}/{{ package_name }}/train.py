"""One training, top to bottom."""

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from . import curves, features, fit, importance, model, plots
from .reproducibility import ProjectError, Result, Run
from .settings import Settings


def train(settings: Settings, run: Run) -> Result:
    """Train and evaluate a classifier; stop when the validation rows are predicted no better any more.

    Parameters
    ----------
    settings : Settings
        The conf of this run.
    run : Run
        Gives data and random numbers; ordinary MLflow calls work here too.

    Returns
    -------
    Result
        What is logged, and what "the same result" is judged by. The predictions are probabilities of the second class.
    """
    table = run.dataset(settings.dataset)
    data = features.split(table, settings, run.rng("split"))
    run.stage("split", [data.X_train.index, data.X_test.index])
    run.stage("features", [data.X_train, data.X_test])
    classes = sorted(data.y_train.unique())
    if len(classes) != 2:
        raise ProjectError(
            f"target {settings.target!r} has {len(classes)} classes; this training takes two.",
            "For more, change the loss in the conf, the metrics in train.py and the plots in plots.py.",
        )
    positive = classes[1]

    rest = table.loc[data.X_train.index]
    rows = features.split(rest, settings, run.rng("validation"), settings.validation_fraction)
    run.stage("validation", [rows.X_train.index, rows.X_test.index])
    fitted, history, best = fit.fit(
        (rows.X_train, rows.y_train == positive),
        (rows.X_test, rows.y_test == positive),
        settings,
        run,
    )
    curves.log(history)

    scores = model.predict(fitted, data.X_test)
    truth, labels = data.y_test == positive, scores > 0.5
    metrics = {
        "accuracy": accuracy_score(truth, labels),
        "f1": f1_score(truth, labels),
        "roc_auc": roc_auc_score(truth, scores),
        "log_loss": log_loss(truth, scores),
    }
    importances = importance.of_columns(fitted, data.X_test, truth, run.rng("importance"))
    figures = {
        "confusion_matrix": plots.confusion_matrix(data.y_test, np.where(labels, positive, classes[0])),
        "roc": plots.roc(truth, scores),
        "feature_importance": plots.feature_importance(importances, list(data.X_train.columns)),
        "curves": curves.draw(history, best, step=fit.STEP),
    }
    return Result(fitted, data.X_test, scores, metrics, figures)
