"""The training of the network: batches, learning-rate schedule, early stopping, checkpoints."""

import io
import json
from typing import Any, NamedTuple

import keras
import numpy as np

from . import epochs, progress, state
from .model import build
from .reproducibility import Run
from .settings import ModelSettings, Settings

#: Numbers of shape (rows, features), and the target: numbers of classes, or values.
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
History = dict[str, list[float]]

#: What the curves go by.
STEP = "epoch"


class Fitted(NamedTuple):
    """What a training gives.

    Parameters
    ----------
    model : keras.Model
        With the weights of the best epoch.
    history : dict
        The losses after each epoch: `{"train": [...], "validation": [...]}`.
    best : int
        The best epoch, counted from 1.
    """

    model: keras.Model
    history: History
    best: int


def fit(train: Rows, validation: Rows, settings: Settings, run: Run, classes: int = 0) -> Fitted:
    """Train until the validation loss has not fallen for a while.

    Parameters
    ----------
    train, validation : tuple of (ndarray, ndarray)
        Numbers and their target: those learned from, and those that decide when to stop.
    settings : Settings
        `model` is used.
    run : Run
        Seeds each epoch; keeps checkpoints; notes the weights after steps 1, 2, 4, 8, ...
    classes : int
        How many there are; 0 where values are predicted.

    Returns
    -------
    Fitted
    """
    model = settings.model
    run.reseed("init")
    history: History = {"train": [], "validation": []}
    if run.restored:
        network = state.read(run.restored["network.keras"])
        with np.load(io.BytesIO(run.restored["best.npz"])) as stored:
            best = list(stored.values())
        history = json.loads(run.restored["history.json"])
    else:
        network = build(*train, classes, model)
        best = network.get_weights()
        run.stage("init", best)

    learned, watched = _arrays(train), _arrays(validation)
    losses = history["validation"]
    with progress.bar(model.epochs, len(losses)) as advance:
        while len(losses) < model.epochs and not progress.is_over(losses, model.early_stopping_epochs):
            history["train"].append(_epoch(network, *learned, len(losses), model, run))
            losses.append(_loss(network, *watched))
            if losses[-1] == min(losses):
                best = network.get_weights()
            if len(losses) % model.checkpoint_epochs == 0:
                arrays = io.BytesIO()
                np.savez(arrays, *best)
                run.checkpoint(
                    {
                        "network.keras": state.content(network),
                        "best.npz": arrays.getvalue(),
                        "history.json": json.dumps(history).encode(),
                    }
                )
            advance(losses[-1])
    network.set_weights(best)
    return Fitted(network, history, epochs.best(losses))


def _epoch(network: keras.Model, X: np.ndarray, y: np.ndarray, epoch: int, model: ModelSettings, run: Run) -> float:
    """Go through the rows once, in an order of this epoch's own, and give the mean loss."""
    if epoch % model.checkpoint_epochs == 0:  # where a resumed training begins; not oftener: TensorFlow takes 0.1 s
        state.reseed(network, epoch, run)
    network.optimizer.learning_rate = epochs.learning_rate(model.learning_rate, epoch, model.epochs)
    order = run.rng(f"order {epoch}").permutation(len(X))
    batches = [order[first : first + model.batch_size] for first in range(0, len(X), model.batch_size)]
    network.reset_metrics()
    loss = 0.0
    for step, batch in enumerate(batches, epoch * len(batches) + 1):
        loss = float(network.train_on_batch(X[batch], y[batch]))  # of the epoch so far
        if step & (step - 1) == 0:  # a power of two: few digests, and still the step in which two runs part
            run.stage(f"step {step}", network.get_weights())
    return loss


def _loss(network: keras.Model, X: np.ndarray, y: np.ndarray) -> float:
    network.reset_metrics()
    return float(network.test_on_batch(X, y))


def _arrays(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    numbers, target = rows
    return numbers, target.astype("float32").reshape(-1, 1)
