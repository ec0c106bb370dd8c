"""The model: a small convolutional network. It takes pixels from 0 to 255, and brings them to its own scale itself."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from . import batches, images
from .reproducibility import ModelAdapter
from .settings import ImageSettings, ModelSettings

#: Images that are predicted at once.
BATCH = 256


@dataclass(frozen=True)
class Classifier:
    """A network, and what it takes and tells.

    Parameters
    ----------
    network : keras.Model
        From pixels, shape (images, size, size, channels), to the probability of each class, shape (images, classes).
    classes : list of str
        Their names.
    pictures : ImageSettings
        How images come to it.
    """

    network: keras.Model
    classes: list[str]
    pictures: ImageSettings


def build(classes: int, pictures: ImageSettings, settings: ModelSettings) -> keras.Model:
    """Make the network: convolutions, each of an image half as large as the one before; and an output a class.

    Parameters
    ----------
    classes : int
        How many.
    pictures : ImageSettings
        `size` and `channels` are used.
    settings : ModelSettings
        `filters`, `dropout`, `learning_rate` and `weight_decay` are used. The weights are drawn from Keras's global
        generator.

    Returns
    -------
    keras.Model
        Compiled, and not trained.
    """
    pixels = keras.Input((pictures.size, pictures.size, pictures.channels))
    layer = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for filters in settings.filters:
        layer = keras.layers.Conv2D(filters, 3, padding="same")(layer)
        layer = keras.layers.GroupNormalization(1)(layer)
        layer = keras.layers.ReLU()(layer)
        layer = keras.layers.MaxPooling2D(padding="same")(layer)
    layer = keras.layers.Dropout(settings.dropout)(keras.layers.Flatten()(layer))
    network = keras.Model(pixels, keras.layers.Dense(classes, activation="softmax")(layer))
    optimizer = keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay)
    network.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)  # as fast, and begins at once
    return network


def predict(classifier: Classifier, files: Iterable[str], workers: int = 0) -> np.ndarray:
    """Predict for images.

    Parameters
    ----------
    classifier : Classifier
        The trained network.
    files : iterable of str
        Where they lie.
    workers : int, default 0
        Threads that prepare batches.

    Returns
    -------
    numpy.ndarray of float64, shape (images, classes)
        Probabilities.
    """
    pictures = batches.Images(files, classifier.pictures, workers)
    parts = pictures.batches(np.arange(len(pictures.files)), BATCH)
    answers = [classifier.network.predict_on_batch(pixels) for pixels, _ in parts]
    found: np.ndarray = np.concatenate(answers).astype("float64")
    return found / found.sum(axis=1, keepdims=True)  # of single precision, they add up to nearly 1


class Adapter(ModelAdapter):
    """How the harness uses a classifier: it predicts for a table of files, and is kept in Keras's format."""

    def predict(self, model: Classifier, rows: pd.DataFrame) -> pd.DataFrame:
        """Give label and probabilities of the images in the column `file`."""
        images.require(rows["file"])
        return images.answers(predict(model, rows["file"]), model.classes)

    def save(self, model: Classifier, folder: Path) -> None:
        """Write the network, and what it takes and tells."""
        model.network.save(folder / "network.keras")
        parts = {"classes": model.classes, "pictures": model.pictures.model_dump()}
        (folder / "classifier.json").write_text(json.dumps(parts), "utf-8")

    def load(self, folder: Path) -> Classifier:
        """Read what `save` wrote."""
        parts = json.loads((folder / "classifier.json").read_text("utf-8"))
        network = keras.saving.load_model(folder / "network.keras", compile=False, safe_mode=True)
        return Classifier(network, parts["classes"], ImageSettings(**parts["pictures"]))
