"""From files to batches: images are read, brought to one size and, to learn from, changed at random, on any thread."""

import os
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from .reproducibility import ProjectError
from .settings import ImageSettings

#: Pixels from 0 to 255, shape (images, size, size, channels), and the numbers of the images.
Batch = tuple[np.ndarray, np.ndarray]


class Images:
    """Batches of images: whatever threads prepare them, they depend on the seed, the epoch and the image alone.

    Parameters
    ----------
    files : iterable of str
        Where the images lie.
    settings : ImageSettings
        How they are brought to the network.
    workers : int
        Threads that prepare batches; 0 is one after the other.
    seed : int, optional
        Of the changes at random; without it there are none.
    """

    def __init__(self, files: Iterable[str], settings: ImageSettings, workers: int, seed: int | None = None) -> None:
        self.files = np.array([os.fsencode(file) for file in files])
        self.settings = settings
        self.workers = workers
        self.seed = seed
        shapes = [tf.TensorSpec([], kind) for kind in (tf.string, tf.int64, tf.int64)]
        self.pixels = tf.function(self._pixels, input_signature=shapes)  # traced once, not in each epoch

    def batches(self, numbers: np.ndarray, size: int, epoch: int = 0) -> Iterator[Batch]:
        """Give the images of these numbers, in their order, as they are in an epoch."""
        rows = tf.data.Dataset.from_tensor_slices((self.files[numbers], numbers))
        parallel = {"num_parallel_calls": self.workers, "deterministic": True} if self.workers else {}
        prepared = rows.map(lambda file, number: (self.pixels(file, number, np.int64(epoch)), number), **parallel)
        try:
            yield from prepared.batch(size).prefetch(2).as_numpy_iterator()
        except tf.errors.InvalidArgumentError:
            for file in self.files[numbers]:
                _require(file)
            raise

    def _pixels(self, file: tf.Tensor, number: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        size = self.settings.size
        pixels = tf.image.resize(_decode(file), (size, size), antialias=True)
        if self.settings.channels == 1:
            pixels = tf.image.rgb_to_grayscale(pixels)
        return pixels if self.seed is None else self._changed(pixels, number, epoch)

    def _changed(self, pixels: tf.Tensor, number: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        """Turn, move and mirror an image."""
        seed = tf.constant([self.seed, 0], tf.int64)
        for key in (epoch, number):
            seed = tf.random.experimental.stateless_fold_in(seed, key)
        turn, across, down, side = tf.unstack(tf.random.stateless_uniform([4], seed, -1, 1))
        angle = turn * np.float32(np.deg2rad(self.settings.rotation))
        if self.settings.mirror:
            pixels = tf.where(side > 0, pixels, tf.reverse(pixels, [1]))
        shift, middle = self.settings.shift * self.settings.size, (self.settings.size - 1) / 2
        cos, sin = tf.cos(angle), tf.sin(angle)
        # Where each new pixel comes from: around the middle, and moved.
        x = [cos, -sin, middle - middle * (cos - sin) + across * shift]
        y = [sin, cos, middle - middle * (sin + cos) + down * shift]
        return keras.ops.image.affine_transform(
            pixels, tf.stack([*x, *y, 0.0, 0.0]), fill_mode="constant", data_format="channels_last"
        )


def _decode(file: tf.Tensor | bytes) -> tf.Tensor:
    """Read an image, of several the first; shape (height, width, 3)."""
    return tf.io.decode_image(tf.io.read_file(file), channels=3, expand_animations=False)


def _require(file: bytes) -> None:
    """Refuse an image that others can read."""
    try:
        _decode(file)
    except tf.errors.InvalidArgumentError as error:
        raise ProjectError(
            f"{os.fsdecode(file)} is no image that TensorFlow can read.",
            "Open it and save it again; of a dataset, then `just data-add` it again.",
        ) from error
