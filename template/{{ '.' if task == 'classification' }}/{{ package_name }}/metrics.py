"""What a classifier says of rows, and how good that is."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score


def ask(model: Any, X: pd.DataFrame) -> pd.DataFrame:
    """Let a model predict.

    Parameters
    ----------
    model : Any
        It has `predict`, `predict_proba` and `classes_`.
    X : pandas.DataFrame, shape (n, features)
        Rows.

    Returns
    -------
    pandas.DataFrame, shape (n, 1 + classes)
        The label as `prediction`, and a column `probability CLASS` for each class, in the order of `classes_`.
    """
    labels = pd.DataFrame({"prediction": model.predict(X)}, X.index)
    names = [f"probability {name}" for name in model.classes_]
    return labels.join(pd.DataFrame(model.predict_proba(X), X.index, names))


def score(y: pd.Series, answers: pd.DataFrame) -> dict[str, float]:
    """Compare what `ask` gave with the truth.

    Parameters
    ----------
    y : pandas.Series
        The target of the whole table.
    answers : pandas.DataFrame
        Of some of its rows.

    Returns
    -------
    dict of str to float
        Of two classes, F1 and ROC AUC are those of the second; of more, means over the classes.
    """
    truth, classes = y.loc[answers.index], np.unique(y)
    labels, probabilities = answers["prediction"], answers.iloc[:, 1:].to_numpy()
    if len(classes) == 2:
        f1 = f1_score(truth, labels, pos_label=classes[1])
        auc = roc_auc_score(truth == classes[1], probabilities[:, 1])
    else:
        f1 = f1_score(truth, labels, labels=classes, average="macro")
        held_out = [(truth == name, probabilities[:, i]) for i, name in enumerate(classes) if name in {*truth}]
        auc = float(np.mean([roc_auc_score(*of_class) for of_class in held_out]))
    return {
        "accuracy": accuracy_score(truth, labels),
        "f1": f1,
        "roc_auc": auc,
        "log_loss": log_loss(truth, probabilities, labels=classes),
    }
