"""The model: a network for tables. It takes rows as they are in the table, and standardizes them itself."""

import keras
import numpy as np
import pandas as pd

from .settings import ModelSettings

#: Rows that are predicted at once.
BATCH = 10_000


def build(X: pd.DataFrame, y: pd.Series, settings: ModelSettings) -> keras.Model:
    """Make the network: hidden layers between standardized columns and one output.

    Parameters
    ----------
    X : pandas.DataFrame, shape (rows, features)
        The rows to learn from; mean and variance of their columns become part of the network.
    y : pandas.Series, shape (rows,)
        Their target: bool for the logistic loss, numbers for the squared one.
    settings : ModelSettings
        `loss`, `hidden`, `dropout`, `learning_rate` and `weight_decay` are used. The weights are drawn from Keras's
        global generator.

    Returns
    -------
    keras.Model
        Compiled, and not trained. It predicts probabilities or values of the target, shape (rows, 1).
    """
    rows = keras.Input((X.shape[1],))
    layer = keras.layers.Normalization(mean=X.mean().to_numpy(), variance=X.var().replace(0.0, 1.0).to_numpy())(rows)
    for units in settings.hidden:
        layer = keras.layers.Dense(units, activation="relu")(layer)
        layer = keras.layers.Dropout(settings.dropout)(layer)
    if settings.loss == "logistic":
        output, loss = keras.layers.Dense(1, activation="sigmoid")(layer), "binary_crossentropy"
    else:
        standardized = keras.layers.Dense(1)(layer)
        output = keras.layers.Rescaling(y.std() or 1.0, offset=y.mean())(standardized)
        loss = "mean_squared_error"
    network = keras.Model(rows, output)
    optimizer = keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay)
    network.compile(optimizer, loss, jit_compile=False)  # compiling takes longer than training a network of this size
    return network


def predict(network: keras.Model, X: pd.DataFrame) -> np.ndarray:
    """Predict for rows of a table.

    Parameters
    ----------
    network : keras.Model
        The trained network.
    X : pandas.DataFrame, shape (rows, features)

    Returns
    -------
    numpy.ndarray of float32, shape (rows,)
        Probabilities of the positive class, or values of the target.
    """
    rows = X.to_numpy("float32")
    # Not `network.predict`: it builds a pipeline of TensorFlow's for each call.
    parts = [network.predict_on_batch(rows[first : first + BATCH]) for first in range(0, len(rows), BATCH)]
    return np.concatenate(parts).reshape(len(X))
