"""What is particular to TensorFlow and Keras: switches, the content of models, and how they are stored."""

from __future__ import annotations

import sys
from typing import Any

#: Environment variables that only this framework needs. Level 3 leaves out what TensorFlow logs of a missing
#: GPU and of its own graphs; what goes wrong is an exception besides.
LAUNCH_VARIABLES: dict[str, str] = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

#: Variables that only this framework reads its number of threads from.
THREAD_VARIABLES: tuple[str, ...] = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

#: The module of MLflow that loads the models of `log_model`.
LOADER = "mlflow.keras"

#: Environment variables for loading a stored model unseen.
LOAD_VARIABLES: dict[str, str] = {}


def set_deterministic(warn_only: bool) -> None:
    """Let TensorFlow use deterministic operations only.

    Parameters
    ----------
    warn_only : bool
        TensorFlow knows no warning in place of the error: the switch is left off, with a notice.

    Notes
    -----
    `tf.config.experimental.enable_op_determinism` in TensorFlow's documentation; it cannot be taken back.
    """
    import tensorflow as tf

    if warn_only:
        print(
            "notice: nondeterminism: warn leaves TensorFlow's op determinism off; this run may not repeat",
            file=sys.stderr,
        )
    else:
        tf.config.experimental.enable_op_determinism()


def nondeterministic_operation(error: BaseException) -> str | None:
    """Name the operation without a deterministic form that ended a training; None if something else did."""
    text = str(error)
    found = "determinis" in text.lower() and type(error).__module__.startswith("tensorflow")
    return text.partition("\n")[0] if found else None


def device() -> str:
    """Tell where the framework computes: on a GPU if there is one."""
    import tensorflow as tf

    return "cuda" if tf.config.list_physical_devices("GPU") else "cpu"


def set_seed(seed: int) -> dict[str, int]:
    """Seed the global generators of TensorFlow and Keras. `tf.random.set_seed` alone leaves those of Keras."""
    import keras

    keras.utils.set_random_seed(seed)
    return {"tensorflow": seed, "keras": seed}


def weights(model: Any) -> Any:
    """Give every weight of a network, in a form that `digest.of_value` takes.

    Parameters
    ----------
    model : keras.Model
        A trained network.

    Returns
    -------
    list of numpy.ndarray
        In the order in which Keras keeps them: names hold counters of the process.
    """
    return list(model.get_weights())


def probe(model: Any, inputs: Any) -> Any:
    """Let a network predict for the first held-out rows.

    Parameters
    ----------
    model : keras.Model
        The trained network.
    inputs : pandas.DataFrame, shape (n, features)
        The held-out rows; at most 100 are used.

    Returns
    -------
    numpy.ndarray, shape (rows, outputs)
    """
    return model.predict_on_batch(inputs.head(100).to_numpy())


def kind(model: Any) -> dict[str, str]:
    """Say what a model is, by which `compare` judges the difference between two machines.

    Returns
    -------
    dict of str to str
        `class`, and `kind`: "other", since rounding grows while a network is trained.
    """
    return {"class": f"{type(model).__module__}.{type(model).__qualname__}", "kind": "other"}


def log_model(model: Any, inputs: Any, predictions: Any, requirements: str) -> str:
    """Log a network without pickle, in Keras's own format, with signature and hashed requirements.

    MLflow 3.17 cannot store an example with this flavour: it writes it before the model's folder is made.

    Parameters
    ----------
    model : keras.Model
        The trained network.
    inputs : pandas.DataFrame, shape (n, features)
        Rows as the model takes them.
    predictions : numpy.ndarray, shape (n,)
        What it predicts for them.
    requirements : str
        Path of the lock that the model needs.

    Returns
    -------
    str
        URI of the logged model.
    """
    import mlflow.keras
    import numpy as np
    from mlflow.models import infer_signature

    rows = inputs.to_numpy("float32")
    info = mlflow.keras.log_model(
        model,
        name="model",
        signature=infer_signature(rows, np.asarray(predictions).reshape(len(rows), -1)),
        pip_requirements=requirements,
        metadata={"columns": list(inputs.columns)},
    )
    return str(info.model_uri)


def refusal(flavors: dict[str, Any]) -> str | None:
    """Say why a stored model must not be loaded unseen, or None if it may be.

    Keras itself refuses a lambda, which would be code, in the format that is allowed here.

    Parameters
    ----------
    flavors : dict
        The flavours of the stored MLmodel file, which name `LOADER` and no code of their own.
    """
    if flavors.get("keras", {}).get("save_exported_model"):
        return "it is a graph of TensorFlow's, which runs what is in it"
    return None
