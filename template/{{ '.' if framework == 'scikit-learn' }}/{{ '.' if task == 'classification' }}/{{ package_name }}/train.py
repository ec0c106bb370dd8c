"""One training, top to bottom."""

from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from . import features, model, plots
from .reproducibility import ProjectError, Result, Run
from .settings import Settings


def train(settings: Settings, run: Run) -> Result:
    """Train and evaluate a classifier.

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
    if data.y_train.nunique() != 2:
        raise ProjectError(
            f"target {settings.target!r} has {data.y_train.nunique()} classes; this training takes two.",
            "Change the metrics and plots in train.py and plots.py for more classes.",
        )

    forest = model.build(settings, run.rng("model"))
    forest.fit(data.X_train, data.y_train)
    forest.set_params(n_jobs=1)  # threads add the votes of the trees in any order, to other last bits

    predictions = forest.predict(data.X_test)
    positive = forest.classes_[1]
    scores = forest.predict_proba(data.X_test)[:, 1]
    truth = data.y_test == positive
    metrics = {
        "accuracy": accuracy_score(data.y_test, predictions),
        "f1": f1_score(data.y_test, predictions, pos_label=positive),
        "roc_auc": roc_auc_score(truth, scores),
        "log_loss": log_loss(truth, scores),
    }
    figures = {
        "confusion_matrix": plots.confusion_matrix(data.y_test, predictions),
        "roc": plots.roc(truth, scores),
        "feature_importance": plots.feature_importance(forest.feature_importances_, list(data.X_train.columns)),
    }
    return Result(forest, data.X_test, predictions, metrics, figures)
