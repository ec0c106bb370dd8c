"""The model: a network for tables, from standardized numbers to classes or a value."""

from typing import Any

import keras
import numpy as np

from .settings import ModelSettings


def build(
    numbers: np.ndarray[Any, Any], target: np.ndarray[Any, Any], classes: int, settings: ModelSettings
) -> keras.Model:
    """Make the network: hidden layers between standardized numbers and one output, or one a class of more than two.

    Parameters
    ----------
    numbers : ndarray of float, shape (rows, features)
        The rows to learn from.
    target : ndarray, shape (rows,)
        Numbers of classes for the logistic loss, values for the squared one.
    classes : int
        How many there are; 0 where values are predicted.
    settings : ModelSettings
        `loss`, `hidden`, `dropout`, `learning_rate` and `weight_decay` are used. The weights are drawn from Keras's
        global generator.

    Returns
    -------
    keras.Model
        Compiled, and not trained. It predicts the probability of the second class, shape (rows, 1), or of each, shape
        (rows, classes); or values of the target, shape (rows, 1).
    """
    rows = layer = keras.Input((numbers.shape[1],))
    for units in settings.hidden:
        layer = keras.layers.Dense(units, activation="relu")(layer)
        layer = keras.layers.Dropout(settings.dropout)(layer)
    if settings.loss == "squared":
        standardized = keras.layers.Dense(1)(layer)
        output = keras.layers.Rescaling(float(target.std(ddof=1)) or 1.0, offset=float(target.mean()))(standardized)
        loss = "mean_squared_error"
    elif classes > 2:
        output, loss = keras.layers.Dense(classes, activation="softmax")(layer), "sparse_categorical_crossentropy"
    else:
        output, loss = keras.layers.Dense(1, activation="sigmoid")(layer), "binary_crossentropy"
    network = keras.Model(rows, output)
    optimizer = keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay)
    network.compile(optimizer, loss, jit_compile=False)  # compiling takes longer than training a network of this size
    return network
