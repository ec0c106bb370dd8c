"""The training of the network: batches, learning-rate schedule, early stopping, checkpoints."""

import io
import json

import keras
import numpy as np
import pandas as pd

from . import batches, epochs, progress, state
from .model import Classifier, build
from .reproducibility import Run
from .settings import Settings

History = dict[str, list[float]]

#: What the curves go by.
STEP = "epoch"


def fit(train: pd.DataFrame, validation: pd.DataFrame, settings: Settings, run: Run) -> tuple[Classifier, History, int]:
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
    tuple of (Classifier, dict, int)
        The network with the weights of the best epoch; the losses after each epoch:
        `{"train": [...], "validation": [...]}`; and the best epoch, counted from 1.
    """
    model = settings.model
    run.reseed("init")
    history: History = {"train": [], "validation": []}
    classes = list(train["label"].cat.categories)
    if run.restored:
        network = state.read(run.restored["network.keras"])
        with np.load(io.BytesIO(run.restored["best.npz"])) as stored:
            best = list(stored.values())
        history = json.loads(run.restored["history.json"])
    else:
        network = build(len(classes), settings.images, model)
        best = network.get_weights()
        run.stage("init", best)

    changed = batches.Images(train["file"], settings.images, model.workers, int(run.rng("changes").integers(2**63)))
    watched = batches.Images(validation["file"], settings.images, model.workers)
    losses = history["validation"]
    with progress.bar(model.epochs, len(losses)) as advance:
        while len(losses) < model.epochs and not progress.is_over(losses, model.early_stopping_epochs):
            history["train"].append(_epoch(network, changed, _labels(train), len(losses), settings, run))
            losses.append(_loss(network, watched, _labels(validation), model.batch_size))
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
    return Classifier(network, classes, settings.images), history, epochs.best(losses)


def _epoch(
    network: keras.Model, images: batches.Images, labels: np.ndarray, epoch: int, settings: Settings, run: Run
) -> float:
    """Go through the images once, in an order of this epoch's own, and give the mean loss."""
    model = settings.model
    if epoch % model.checkpoint_epochs == 0:  # where a resumed training begins; not oftener: TensorFlow takes 0.1 s
        state.reseed(network, epoch, run)
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
