"""Operations of TensorFlow of which some have no deterministic form on some devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from .job import SEED, Job

#: Numbers that meet in one place.
MANY = 1 << 20


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


#: Most are named in TensorFlow's documentation of `enable_op_determinism`, or in its errors; all are tried.
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
