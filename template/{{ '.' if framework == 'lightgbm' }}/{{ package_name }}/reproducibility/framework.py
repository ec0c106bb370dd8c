"""What is particular to LightGBM: the content of its models, and how they are stored."""

from __future__ import annotations

from typing import Any

#: Environment variables that only this framework needs; LightGBM reads the common ones.
LAUNCH_VARIABLES: dict[str, str] = {}

#: Variables that only this framework reads its number of threads from.
THREAD_VARIABLES: tuple[str, ...] = ()

#: The module of MLflow that loads the models of `log_model`.
LOADER = "mlflow.lightgbm"

#: Environment variables for loading a stored model unseen.
LOAD_VARIABLES: dict[str, str] = {}


def set_deterministic(warn_only: bool) -> None:
    """Switch deterministic algorithms on: it is a parameter of each training."""


def nondeterministic_operation(error: BaseException) -> str | None:
    """Name the operation without a deterministic form that ended a training: LightGBM refuses none."""
    return None


def device() -> str:
    """Tell where the framework computes."""
    return "cpu"  # its wheels know no GPU


def set_seed(seed: int) -> dict[str, int]:
    """Seed the framework's own generators: LightGBM has none, each training is given its seed."""
    return {}


def weights(model: Any) -> Any:
    """Give every tree of a booster, in a form that `digest.of_value` takes.

    Parameters
    ----------
    model : lightgbm.Booster
        A trained booster.

    Returns
    -------
    str
        The same for two boosters exactly if every split and leaf is.
    """
    # Of LightGBM's text what follows the trees is left out: it names the number of threads.
    return model.model_to_string().partition("end of trees")[0]


def probe(model: Any, inputs: Any) -> Any:
    """Let a booster predict for the first held-out rows.

    Parameters
    ----------
    model : lightgbm.Booster
        The trained booster.
    inputs : pandas.DataFrame, shape (n, features)
        The held-out rows; at most 100 are used.

    Returns
    -------
    numpy.ndarray, shape (rows,) or (rows, classes)
    """
    return model.predict(inputs.head(100), num_threads=1)


def kind(model: Any) -> dict[str, str]:
    """Say what a model is, by which `compare` judges the difference between two machines.

    Returns
    -------
    dict of str to str
        `class`, and `kind`: "trees".
    """
    return {"class": f"{type(model).__module__}.{type(model).__qualname__}", "kind": "trees"}


def log_model(model: Any, inputs: Any, predictions: Any, requirements: str) -> str:
    """Log a booster without pickle, in LightGBM's own format, with signature, example and hashed requirements.

    Parameters
    ----------
    model : lightgbm.Booster
        The trained booster.
    inputs : pandas.DataFrame, shape (n, features)
        Rows as the model takes them; the first five become its example.
    predictions : numpy.ndarray, shape (n,)
        What it predicts for them.
    requirements : str
        Path of the lock that the model needs.

    Returns
    -------
    str
        URI of the logged model.
    """
    import mlflow.lightgbm
    from mlflow.models import infer_signature

    info = mlflow.lightgbm.log_model(
        model,
        name="model",
        signature=infer_signature(inputs, predictions),
        input_example=inputs.head(5),
        pip_requirements=requirements,
    )
    return str(info.model_uri)


def refusal(flavors: dict[str, Any]) -> str | None:
    """Say why a stored model must not be loaded unseen, or None if it may be.

    Parameters
    ----------
    flavors : dict
        The flavours of the stored MLmodel file, which name `LOADER` and no code of their own.
    """
    if flavors.get("lightgbm", {}).get("model_class") != "lightgbm.basic.Booster":
        return "it is not stored in LightGBM's own format but as a pickle, which runs any code that is in it"
    return None
