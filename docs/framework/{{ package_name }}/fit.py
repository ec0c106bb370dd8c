"""The training of the weights: gradient descent, early stopping, checkpoints."""

import json
from typing import Any

import numpy as np

from . import progress
from .fitted import Fitted, History
from .model import Linear
from .reproducibility import Run
from .settings import Settings

#: Numbers of shape (rows, features), and the target: numbers of classes, or values.
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

#: What the curves go by.
STEP = "round"


def fit(train: Rows, validation: Rows, settings: Settings, run: Run, classes: int = 0) -> Fitted[Linear]:
    """Descend until the validation loss has not fallen for a while.

    Parameters
    ----------
    train, validation : tuple of (ndarray, ndarray)
        Numbers and their target: those learned from, and those that decide when to stop.
    settings : Settings
        `model` is used.
    run : Run
        Keeps checkpoints.
    classes : int
        How many there are, two at most; 0 where values are predicted.

    Returns
    -------
    Fitted
        The weights of the last round.
    """
    model = settings.model
    values, truth = train
    start = np.zeros(values.shape[1] + 1)
    linear = Linear(start, values.mean(axis=0), values.std(axis=0) + 1e-9, model.loss == "logistic")
    history: History = json.loads(run.restored.get("history.json", b'{"train": [], "validation": []}'))
    if run.restored:
        linear.weights = np.array(json.loads(run.restored["weights.json"]))
    losses = history["validation"]
    with progress.bar(model.rounds, len(losses)) as advance:
        while len(losses) < model.rounds and not progress.is_over(losses, model.early_stopping_rounds):
            gradient = linear.matrix(train[0]).T @ (linear.predict(train[0]) - truth) / len(truth)
            linear.weights = linear.weights - model.learning_rate * gradient
            for name, (X, y) in {"train": train, "validation": validation}.items():
                history[name].append(float(np.mean((linear.predict(X) - y) ** 2)))
            advance(losses[-1])
            if len(losses) % model.checkpoint_rounds == 0:
                state = {"history": history, "weights": linear.weights.tolist()}
                run.checkpoint({f"{name}.json": json.dumps(value).encode() for name, value in state.items()})
    return Fitted(linear, history, len(losses))
