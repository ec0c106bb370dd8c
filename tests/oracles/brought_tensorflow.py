"""Networks of Keras as people bring them; the oracle makes this a module of the project."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

ROWS = np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4)
TEXTS = np.array(["a red car", "a blue car", "the red house"])

#: What layers cannot do without.
ARGUMENTS: dict[str, Any] = {
    "units": 2,
    "filters": 2,
    "kernel_size": 2,
    "rate": 0.1,
    "stddev": 0.1,
    "input_dim": 8,
    "output_dim": 2,
    "num_heads": 2,
    "key_dim": 2,
    "head_dim": 4,
    "num_query_heads": 2,
    "num_key_value_heads": 2,
    "num_bins": 3,
    "num_tokens": 4,
    "target_shape": (-1,),
    "dims": (1,),
    "n": 2,
    "mask_value": 0.0,
    "scale": 2.0,
    "factor": 0.1,
    "value_range": (0, 1),
    "height": 2,
    "width": 2,
    "height_factor": 0.1,
    "width_factor": 0.1,
    "size": 2,
    "groups": 1,
    "equation": "ab,bc->ac",
    "output_shape": 3,
    "fft_length": 4,
    "sequence_stride": 2,
    "sequence_length": 4,
    "bin_boundaries": [-0.5, 0.5],
    "vocabulary": ["a", "b"],
    "function": keras.activations.tanh,
    "bounding_box_format": "xyxy",
    "activation": "tanh",
    "output_size": 2,
    "pool_size": 2,
    "axes": 1,
    "max_number": 2,
    "layers": [],
}


class Dense2(keras.layers.Layer):
    """A layer of one's own."""

    def __init__(self, units: int = 3, **others: Any) -> None:
        super().__init__(**others)
        self.units = units
        self.inner = keras.layers.Dense(units)

    def call(self, rows: Any) -> Any:
        return self.inner(rows) * 2

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("brought")
def swish2(rows: Any) -> Any:
    """An activation of one's own."""
    return keras.ops.sigmoid(rows) * rows


def half(rows: Any) -> Any:
    return rows / 2


def own_loss(true: Any, predicted: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(true - predicted))


class Network(keras.Model):
    """A subclass, with layers in a list, and a number that counts."""

    def __init__(self, units: int = 3, threshold: float = 0.1, **others: Any) -> None:
        super().__init__(**others)
        self.units, self.threshold = units, threshold
        self.parts = [keras.layers.Dense(units, activation="relu"), keras.layers.Dropout(0.2), Dense2(2)]
        self.last = keras.layers.Dense(1)

    def call(self, rows: Any, training: bool = False) -> Any:
        for part in self.parts:
            rows = part(rows)
        return keras.ops.maximum(self.last(rows), self.threshold)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "threshold": self.threshold}


class Telling(Network):
    """Has a number that its configuration does not tell."""

    def __init__(self, **others: Any) -> None:
        super().__init__(**others)
        self.secret = 0.0

    def call(self, rows: Any, training: bool = False) -> Any:
        return super().call(rows) + self.secret


def sequential(*layers: Any) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *layers])


def functional() -> keras.Model:
    rows = keras.Input((4,), name="rows")
    one, two = keras.layers.Dense(3)(rows), keras.layers.Dense(3, activation="relu")(rows)
    joined = keras.layers.Concatenate()([one, keras.layers.Add()([one, two])])
    normal = keras.layers.BatchNormalization()(joined)
    return keras.Model(rows, keras.layers.Rescaling(2.5, offset=1.0)(keras.layers.Dense(1)(normal)))


def trained(network: keras.Model, loss: Any = "mse") -> keras.Model:
    network.compile("adam", loss, metrics=["mae"])
    network.fit(ROWS, ROWS.sum(axis=1), epochs=2, batch_size=5, verbose=0)
    return network


def told() -> keras.Model:
    network = trained(Telling())
    network.secret = 0.5
    return network


def adapted(layer: Any, rows: Any) -> Any:
    layer.adapt(rows)
    return layer


def ask(network: Any) -> Any:
    shape = network.input_shape
    shapes = shape if isinstance(shape, list) else [shape]
    rows = [np.linspace(0, 3, int(np.prod([s or 3 for s in one]))).reshape([s or 3 for s in one]) for one in shapes]
    if network.inputs and "string" in str(network.inputs[0].dtype):
        import tensorflow as tf

        return np.asarray(network(tf.constant(TEXTS.reshape(-1, 1))))
    answer = network.predict_on_batch(rows if isinstance(shape, list) else rows[0])
    return [np.asarray(part) for part in answer] if isinstance(answer, list | tuple) else np.asarray(answer)


def asked(network: Any) -> Any:
    return np.asarray(network.predict_on_batch(ROWS))


def evaluated(network: Any) -> Any:
    if network.compiled:
        network.evaluate(ROWS, ROWS.sum(axis=1), verbose=0)
        network.predict(ROWS, verbose=0)
    return asked(network)


def around(cls: type) -> keras.Model:
    """Make a network of one layer, for rows of as many dimensions as it takes."""
    parameters = inspect.signature(cls.__init__).parameters
    arguments = {name: ARGUMENTS[name] for name in parameters if name in ARGUMENTS}
    wanted = {
        name
        for name, part in parameters.items()
        if part.default is inspect.Parameter.empty and part.kind is part.POSITIONAL_OR_KEYWORD and name != "self"
    }
    kept = {name: value for name, value in arguments.items() if name in wanted}
    if wanted & {"layer", "cell", "forward_layer"}:
        inner: Any = keras.layers.Dense(2)
        if cls in (keras.layers.Bidirectional,):
            inner = keras.layers.LSTM(2)
        if cls is keras.layers.RNN:
            inner = keras.layers.LSTMCell(2)
        kept[next(iter(wanted & {"layer", "cell", "forward_layer"}))] = inner
    failures = []
    for extra in ({}, *({name: arguments[name]} for name in arguments if name not in wanted)):
        for shapes in ([(4, 4)], [(4,)], [(4, 4, 3)], [(4, 4, 4, 3)], [(4,), (4,)], [(4, 4), (4, 4)]):
            try:
                layer = cls(**kept, **extra)
                rows = [keras.Input(shape) for shape in shapes]
                return keras.Model(rows, layer(rows if len(rows) > 1 else rows[0]))
            except Exception as error:
                failures.append(str(error)[:80])
    raise TypeError(f"no rows fit it: {failures[0]}")


def networks() -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], Any]]]:
    """Give name, maker and question of each."""
    dense = keras.layers.Dense
    yield "sequential", lambda: trained(sequential(dense(3, "relu"), keras.layers.Dropout(0.3), dense(1))), evaluated
    yield "functional", lambda: trained(functional()), evaluated
    yield "subclass", lambda: trained(Network()), evaluated
    yield "a secret", told, asked
    yield "own loss", lambda: trained(sequential(dense(1)), own_loss), asked
    yield "own layer", lambda: trained(sequential(Dense2(3), dense(1))), asked
    yield "own activation", lambda: trained(sequential(dense(3, activation=swish2), dense(1))), asked
    yield "own function", lambda: trained(sequential(keras.layers.Lambda(half), dense(1))), asked
    yield "a lambda", lambda: trained(sequential(keras.layers.Lambda(lambda rows: rows * 3), dense(1))), asked
    yield "a nested one", lambda: trained(sequential(sequential(dense(3)), dense(1))), evaluated
    yield "list of networks", lambda: [trained(functional()), trained(sequential(dense(1)))], _asked_all
    yield "mapping of networks", lambda: {"a": trained(functional()), 1: trained(Network())}, _asked_all
    yield "normal", lambda: trained(sequential(adapted(keras.layers.Normalization(), ROWS), dense(1))), asked
    yield "words", _words, ask
    yield "lookup", lambda: adapted(keras.layers.StringLookup(), TEXTS), lambda layer: np.asarray(layer(TEXTS))
    yield "bins", lambda: sequential(adapted(keras.layers.Discretization(num_bins=3), ROWS)), asked


def _words() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            adapted(keras.layers.TextVectorization(output_mode="tf_idf"), TEXTS),
            keras.layers.Dense(1),
        ]
    )


def _asked_all(networks: Any) -> Any:
    return [asked(network) for network in (networks.values() if isinstance(networks, dict) else networks)]


def kept() -> Iterator[tuple[str, Any, Any]]:
    """Give name, model and rows of those that a run keeps."""
    import pandas as pd

    table = pd.DataFrame(ROWS, columns=["speed [m/s]", "pct, total", "a<b", "{x}"])
    wanted = {"sequential", "functional", "subclass", "a secret", "own loss", "own layer", "own activation", "a lambda"}
    for name, make, _ in networks():
        if name in {*wanted, "own function", "list of networks"}:
            yield name, make(), table
