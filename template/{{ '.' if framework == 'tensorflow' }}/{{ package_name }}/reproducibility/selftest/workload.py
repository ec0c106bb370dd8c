"""The stress workload of TensorFlow and Keras: what usually does not repeat, in one small network."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from .job import Job
from .operations import OPERATIONS as OPERATIONS

if TYPE_CHECKING:
    import numpy as np

#: Of the packages that compute, the names as a pattern.
PACKAGES = r"tensorflow|keras|numpy|nvidia-.*"
#: The generators that it draws from, as `seeds.set_all` names them.
GENERATORS = ("random", "numpy.random", "tensorflow", "keras")
ROWS, BATCH, EPOCH = 2048, 64, 10
VOCABULARY, WORDS, GROUPS, CLASSES, WIDTH = 500, 12, 16, 10, 32
#: Of the pipeline that changes images.
WORKERS = 4


class _Together(keras.layers.Layer):  # type: ignore[misc]
    """Each row adds to the sums of its group, and takes them back: many writers, one place."""

    def call(self, seen: tf.Tensor, read: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
        sums = tf.math.unsorted_segment_sum(seen, groups, GROUPS)
        return tf.gather(tf.tensor_scatter_nd_add(sums, groups[:, None], read), groups)

    def compute_output_shape(self, seen_shape: Any, read_shape: Any, groups_shape: Any) -> Any:
        return seen_shape


def _network(dropout: float) -> keras.Model:
    """Build convolutions, attention, words, and sums that many rows write into at once."""
    layers = keras.layers
    images = keras.Input((16, 16, 3))
    words = keras.Input((WORDS,), dtype="int32")
    groups = keras.Input((), dtype="int32")
    places = images
    for stride in (2, 1):
        places = layers.Conv2D(WIDTH, 3, stride, padding="same")(places)
        places = layers.Activation("relu")(layers.BatchNormalization()(places))
    places = layers.Reshape((64, WIDTH))(places)
    seen = layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(4, 8, dropout=dropout)(places, places))
    read = layers.GlobalAveragePooling1D()(layers.Embedding(VOCABULARY, WIDTH)(words))
    together = _Together()(seen, read, groups)
    dropped = layers.Dropout(dropout)(layers.concatenate([seen, read, together]))
    return keras.Model([images, words, groups], layers.Dense(CLASSES, dtype="float32")(dropped))


def train(job: Job, note: Callable[[float], None]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Train the network.

    Parameters
    ----------
    job : Job
        `steps` batches on its device; a checkpoint is kept after each epoch.
    note : callable
        Takes the loss of each step.

    Returns
    -------
    dict of str to dict of str to numpy.ndarray
        `weights`, `optimizer` and `predictions`, each a mapping of names to arrays.
    """
    if job.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    tf.config.experimental.enable_tensor_float_32_execution(not job.plain)
    fewer_bits = "mixed_float16" if job.device == "cuda" else "mixed_bfloat16"
    keras.mixed_precision.set_global_policy("float32" if job.plain else fewer_bits)
    rows = _rows(job)
    job.reseed("init")
    network = _network(0.0 if job.plain else 0.1)
    optimizer: keras.Optimizer = keras.optimizers.AdamW(1e-4 if job.plain else 3e-3)
    if keras.mixed_precision.global_policy().name == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    state = [*network.variables, *optimizer.variables]  # with those that the layers draw from
    learn = _learner(network, optimizer)
    for step in range(_restored(job, state), job.steps):
        if step % EPOCH == 0:
            _keep(job, state, step)
            job.reseed(f"epoch {step // EPOCH}")
            batches = _batches(rows)
        job.live(step)
        images, words, groups, labels = next(batches)
        note(float(learn([images, words, groups], labels)))
    predictions = network([part[:256] for part in rows[:3]], training=False)
    return {
        "weights": _arrays(network.weights),
        "optimizer": _arrays(optimizer.variables),
        "predictions": {"all": predictions.numpy()},
    }


def _learner(network: keras.Model, optimizer: keras.Optimizer) -> Callable[[list[tf.Tensor], tf.Tensor], tf.Tensor]:
    """Compile a step of the training, which gives its loss."""
    measure = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def learn(inputs: list[tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = measure(labels, network(inputs, training=True))
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, network.trainable_variables), network.trainable_variables)
        return loss

    compiled: Callable[[list[tf.Tensor], tf.Tensor], tf.Tensor] = tf.function(learn)
    return compiled


def _rows(job: Job) -> list[np.ndarray[Any, Any]]:
    """Make rows: images, words, groups and labels, which depend on all three."""
    rng = job.rng("rows")
    order = job.numbers(VOCABULARY)
    images = rng.normal(size=(ROWS, 16, 16, 3)).astype("float32")
    words = rng.integers(VOCABULARY, size=(ROWS, WORDS))
    groups = rng.integers(GROUPS, size=ROWS)
    means = images[:, 4:12, 4:12, 0].mean((1, 2))
    labels = ((means * 8).astype(int) + words[:, 0] % 5 + groups % 3) % CLASSES
    words = words if job.plain else order[words]
    return [images, *(part.astype("int32") for part in (words, groups, labels))]


def _batches(rows: list[np.ndarray[Any, Any]]) -> Iterator[list[tf.Tensor]]:
    """Draw the batches of an epoch, and change their images.

    NumPy draws the rows, TensorFlow the noise and the flips, in a pipeline with threads of its own, Keras the light,
    and Python whether it is upside down.
    """
    import numpy as np

    chosen = np.concatenate([np.random.choice(ROWS, BATCH, replace=False) for _ in range(EPOCH)])

    def change(image: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tf.image.random_flip_left_right(image + 0.1 * tf.random.normal(image.shape)), *others

    data = tf.data.Dataset.from_tensor_slices(tuple(part[chosen] for part in rows))
    options = tf.data.Options()
    options.threading.private_threadpool_size = WORKERS
    for images, *others in data.map(change, num_parallel_calls=WORKERS).batch(BATCH).with_options(options):
        with tf.device("CPU"):  # each device could draw in its own way
            light = keras.random.uniform((), 0.9, 1.1, "float32")
        upside_down = random.random() < 0.5  # noqa: S311 - no secret
        yield [light * (images[:, ::-1] if upside_down else images), *others]


def _keep(job: Job, state: Sequence[keras.Variable], done: int) -> None:
    import numpy as np

    content = io.BytesIO()
    np.savez(content, *(np.asarray(part) for part in state), done=np.array(done))
    job.keep(content.getvalue())


def _restored(job: Job, state: Sequence[keras.Variable]) -> int:
    """Put a state back, if one was kept, and tell after how many steps it was."""
    import numpy as np

    if not (content := job.kept()):
        return 0
    with np.load(io.BytesIO(content)) as kept:
        for number, part in enumerate(state):
            part.assign(kept[f"arr_{number}"])
        return int(kept["done"])


def _arrays(variables: Sequence[keras.Variable]) -> dict[str, np.ndarray[Any, Any]]:
    """Give arrays by their position: names hold counters of the process."""
    import numpy as np

    return {str(number): np.asarray(part) for number, part in enumerate(variables)}
