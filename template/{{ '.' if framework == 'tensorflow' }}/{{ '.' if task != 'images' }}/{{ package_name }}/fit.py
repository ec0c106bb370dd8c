"""The training of the network: what it is made of, and what it does in an epoch."""

from typing import Any

import keras
import numpy as np

from . import epochs
from .fitted import Fitted
from .model import build
from .reproducibility import Run
from .settings import ModelSettings, Settings
from .state import State, reseed

#: Numbers of shape (rows, features), and the target: numbers of classes, or values.
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

#: What the curves go by.
STEP = "epoch"


def fit(train: Rows, validation: Rows, settings: Settings, run: Run, classes: int = 0) -> Fitted[keras.Model]:
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
        The network with the weights of the best epoch.
    """
    model = settings.model
    run.reseed("init")
    state = State(lambda: build(*train, classes, model), run)
    network = state.network
    learned, watched = _arrays(train), _arrays(validation)
    best = epochs.train(
        state,
        lambda epoch: _epoch(network, *learned, epoch, model, run),
        lambda: _loss(network, *watched),
        model,
        run,
    )
    network.set_weights(state.best)
    return Fitted(network, state.history, best)


def _epoch(network: keras.Model, X: np.ndarray, y: np.ndarray, epoch: int, model: ModelSettings, run: Run) -> float:
    """Go through the rows once, in an order of this epoch's own, and give the mean loss."""
    if epoch % model.checkpoint_epochs == 0:  # where a resumed training begins; not oftener: TensorFlow takes 0.1 s
        reseed(network, epoch, run)
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
