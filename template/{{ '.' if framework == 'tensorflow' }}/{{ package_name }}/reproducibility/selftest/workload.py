"""The stress workload of TensorFlow and Keras: what usually does not repeat, in one small network."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from .job import SEED, Job

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


def _normal(*shape: int) -> tf.Tensor:
    return tf.random.stateless_normal(shape, (SEED, 0))


def _places(high: int, *shape: int) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, (SEED, 1), 0, high, "int32")


def _forward(operation: Callable[[], tf.Tensor]) -> Callable[[Job], Any]:
    def result(job: Job) -> Any:
        with tf.device("GPU" if job.device == "cuda" else "CPU"):
            return operation().numpy()

    return result


def _backward(operation: Callable[[tf.Tensor], tf.Tensor], *shape: int) -> Callable[[Job], Any]:
    """Give the gradient of what an operation makes of random numbers of a shape."""

    def gradient() -> tf.Tensor:
        numbers = _normal(*shape)
        with tf.GradientTape() as tape:
            tape.watch(numbers)
            made = operation(numbers)
        weights = tf.reshape(tf.linspace(0.0, 1.0, tf.size(made)), tf.shape(made))
        return tf.convert_to_tensor(tape.gradient(made, numbers, weights))

    return _forward(gradient)


def _crops(images: tf.Tensor) -> tf.Tensor:
    boxes = tf.sort(tf.random.stateless_uniform((64, 4), (SEED, 2)), 1)
    return tf.image.crop_and_resize(images, tf.gather(boxes, [0, 1, 2, 3], axis=1), _places(8, 64), (20, 20))


def _ctc(scores: tf.Tensor) -> tf.Tensor:
    lengths = tf.fill([16], 20), tf.fill([16], 50)
    return tf.nn.ctc_loss(_places(19, 16, 20) + 1, scores, *lengths, blank_index=0)


def _fake_quantized(numbers: tf.Tensor) -> tf.Tensor:
    """Give the gradient of the bounds, which all numbers add to."""
    low = tf.fill([64], -1.0)
    with tf.GradientTape() as tape:
        tape.watch(low)
        made = tf.quantization.fake_quant_with_min_max_vars_per_channel(numbers, low, -low)
    return tape.gradient(made, low, numbers)


def _fused_batch_norm(images: tf.Tensor) -> tf.Tensor:
    ones, zeros = tf.ones(8), tf.zeros(8)
    return tf.compat.v1.nn.fused_batch_norm(images, ones, zeros, zeros, ones, is_training=False)[0]


def _sparse() -> tf.SparseTensor:
    """Make a sparse matrix in which many values have the same place."""
    places = tf.cast(_places(256, 1 << 18, 2), "int64")
    return tf.SparseTensor(places, _normal(1 << 18), (256, 256))


def _unseeded() -> tf.Tensor:
    tf.random.set_seed(None)
    try:
        return tf.random.normal((100,))
    finally:
        tf.random.set_seed(SEED)


MANY = 1 << 20
#: Operations of which some have no deterministic form on some devices. Most are named in TensorFlow's documentation
#: of `enable_op_determinism`, or in its errors; all are tried.
OPERATIONS: Mapping[str, Callable[[Job], Any]] = {
    "adjust_contrast": _forward(lambda: tf.image.adjust_contrast(_normal(8, 64, 64, 3), 1.5)),
    "avg_pool3d, gradient": _backward(lambda x: tf.nn.avg_pool3d(x, 3, 2, "SAME"), 4, 16, 16, 16, 8),
    "bias_add, gradient": _backward(lambda x: tf.nn.bias_add(_normal(512, 28, 28, 32), x), 32),
    "bincount with weights": _forward(lambda: tf.math.bincount(_places(64, MANY), _normal(MANY), 64)),
    "conv2d, gradient": _backward(lambda x: tf.nn.conv2d(_normal(32, 28, 28, 32), x, 1, "SAME"), 3, 3, 32, 64),
    "conv2d_transpose, gradient": _backward(
        lambda x: tf.nn.conv2d_transpose(_normal(16, 15, 15, 32), x, (16, 30, 30, 16), 2), 3, 3, 16, 32
    ),
    "conv3d, gradient": _backward(
        lambda x: tf.nn.conv3d(_normal(4, 16, 16, 16, 8), x, [1] * 5, "SAME"), 3, 3, 3, 8, 16
    ),
    "crop_and_resize, gradient": _backward(_crops, 8, 32, 32, 8),
    "ctc_loss, gradient": _backward(_ctc, 50, 16, 20),
    "cumsum": _forward(lambda: tf.cumsum(_normal(MANY))),
    "depthwise_conv2d, gradient": _backward(
        lambda x: tf.nn.depthwise_conv2d(_normal(16, 28, 28, 32), x, [1] * 4, "SAME"), 3, 3, 32, 2
    ),
    "fake_quant, gradient of its bounds": _forward(lambda: _fake_quantized(_normal(4096, 64))),
    "fused_batch_norm in inference, gradient": _backward(_fused_batch_norm, 16, 16, 16, 8),
    "gather, gradient": _backward(lambda x: tf.gather(x, _places(100, 65536)), 100, 64),
    "histogram_fixed_width": _forward(lambda: tf.histogram_fixed_width(_normal(MANY), (-3.0, 3.0))),
    "in_top_k": _forward(lambda: tf.math.in_top_k(_places(100, 1000), _normal(1000, 100), 5)),
    "matmul": _forward(lambda: _normal(512, 4096) @ _normal(4096, 512)),
    "max_pool_with_argmax, gradient": _backward(
        lambda x: tf.nn.max_pool_with_argmax(x, 3, 2, "SAME")[0], 16, 32, 32, 8
    ),
    "numbers of a generator without a seed": _forward(
        lambda: tf.random.Generator.from_non_deterministic_state().normal((100,))
    ),
    "random numbers without a seed": _forward(_unseeded),
    "resize bicubic, gradient": _backward(lambda x: tf.image.resize(x, (80, 80), "bicubic"), 4, 32, 32, 8),
    "resize bilinear, gradient": _backward(lambda x: tf.image.resize(x, (80, 80)), 4, 32, 32, 8),
    "resize nearest, gradient": _backward(lambda x: tf.image.resize(x, (80, 80), "nearest"), 4, 32, 32, 8),
    "scatter_nd": _forward(lambda: tf.scatter_nd(_places(64, MANY, 1), _normal(MANY), [64])),
    "scatter_nd_update, one place many times": _forward(
        lambda: tf.tensor_scatter_nd_update(tf.zeros(64), _places(64, MANY, 1), _normal(MANY))
    ),
    "segment_sum": _forward(lambda: tf.math.segment_sum(_normal(MANY), tf.sort(_places(64, MANY)))),
    "softmax cross-entropy, gradient": _backward(
        lambda x: tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(_normal(1000, 500)), x), 1000, 500
    ),
    "sparse softmax cross-entropy, gradient": _backward(
        lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(_places(500, 1000), x), 1000, 500
    ),
    "sparse times dense": _forward(lambda: tf.sparse.sparse_dense_matmul(_sparse(), _normal(256, 64))),
    "svd": _forward(lambda: tf.linalg.svd(_normal(300, 200), compute_uv=False)),
    "summary of numbers for debugging": _forward(
        lambda: tf.raw_ops.DebugNumericSummaryV2(input=_normal(MANY), tensor_debug_mode=4, tensor_id=1)
    ),
    "unsorted_segment_prod": _forward(
        lambda: tf.math.unsorted_segment_prod(1 + 1e-3 * _normal(MANY), _places(64, MANY), 64)
    ),
    "unsorted_segment_sum": _forward(lambda: tf.math.unsorted_segment_sum(_normal(MANY), _places(64, MANY), 64)),
}
