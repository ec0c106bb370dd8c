"""The training of the network: what it is made of, and what it does in an epoch."""

import keras
import numpy as np
import pandas as pd

from . import batches, epochs
from .fitted import Fitted
from .model import Classifier, build
from .reproducibility import Run
from .settings import Settings
from .state import State, reseed

#: What the curves go by.
STEP = "epoch"


def fit(train: pd.DataFrame, validation: pd.DataFrame, settings: Settings, run: Run) -> Fitted[Classifier]:
    """Train until the validation loss has not fallen for a while.

    Parameters
    ----------
    train, validation : pandas.DataFrame, shape (images, 2)
        Columns `file` and `label`: images learned from, and those that decide when to stop.
    settings : Settings
        `images` and `model` are used.
    run : Run
        Seeds each epoch; keeps checkpoints; notes the weights after steps 1, 2, 4, 8, ...

    Returns
    -------
    Fitted
        The network with the weights of the best epoch.
    """
    model = settings.model
    run.reseed("init")
    classes = list(train["label"].cat.categories)
    state = State(lambda: build(len(classes), settings.images, model), run)
    network = state.network
    changed = batches.Images(train["file"], settings.images, model.workers, int(run.rng("changes").integers(2**63)))
    watched = batches.Images(validation["file"], settings.images, model.workers)
    best = epochs.train(
        state,
        lambda epoch: _epoch(network, changed, _labels(train), epoch, settings, run),
        lambda: _loss(network, watched, _labels(validation), model.batch_size),
        model,
        run,
    )
    network.set_weights(state.best)
    return Fitted(Classifier(network, classes, settings.images), state.history, best)


def _epoch(
    network: keras.Model, images: batches.Images, labels: np.ndarray, epoch: int, settings: Settings, run: Run
) -> float:
    """Go through the images once, in an order of this epoch's own, and give the mean loss."""
    model = settings.model
    if epoch % model.checkpoint_epochs == 0:  # where a resumed training begins; not oftener: TensorFlow takes 0.1 s
        reseed(network, epoch, run)
    network.optimizer.learning_rate = epochs.learning_rate(model.learning_rate, epoch, model.epochs)
    order = run.rng(f"order {epoch}").permutation(len(labels))
    steps = -(-len(labels) // model.batch_size)
    network.reset_metrics()
    loss = 0.0
    for step, (pixels, numbers) in enumerate(images.batches(order, model.batch_size, epoch), epoch * steps + 1):
        loss = float(network.train_on_batch(pixels, labels[numbers]))  # of the epoch so far
        if step & (step - 1) == 0:  # a power of two: few digests, and still the step in which two runs part
            run.stage(f"step {step}", network.get_weights())
    return loss


def _loss(network: keras.Model, images: batches.Images, labels: np.ndarray, batch_size: int) -> float:
    network.reset_metrics()
    loss = 0.0
    for pixels, numbers in images.batches(np.arange(len(labels)), batch_size):
        loss = float(network.test_on_batch(pixels, labels[numbers]))
    return loss


def _labels(table: pd.DataFrame) -> np.ndarray:
    return table["label"].cat.codes.to_numpy("int64")
