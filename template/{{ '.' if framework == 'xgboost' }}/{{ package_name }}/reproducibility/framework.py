"""What is particular to XGBoost: the content of its models, and how they are stored."""

from __future__ import annotations

from typing import Any

#: Environment variables that only this framework needs; XGBoost reads the common ones.
LAUNCH_VARIABLES: dict[str, str] = {}

#: Variables that only this framework reads its number of threads from.
THREAD_VARIABLES: tuple[str, ...] = ()

#: The module of MLflow that loads the models of `log_model`.
LOADER = "mlflow.xgboost"

#: Environment variables for loading a stored model unseen.
LOAD_VARIABLES: dict[str, str] = {}


def set_deterministic(warn_only: bool) -> None:
    """Switch deterministic algorithms on: `tree_method: hist` has no others."""


def nondeterministic_operation(error: BaseException) -> str | None:
    """Name the operation without a deterministic form that ended a training: XGBoost refuses none."""
    return None


def device() -> str:
    """Tell where the framework computes: on a GPU if there is one."""
    import xgboost

    from . import fingerprint

    return "cuda" if xgboost.build_info()["USE_CUDA"] and fingerprint.gpus() else "cpu"


def set_seed(seed: int) -> dict[str, int]:
    """Seed the framework's own generators: XGBoost has none, each training is given its seed."""
    return {}


def weights(model: Any) -> Any:
    """Give every tree of a booster, in a form that `digest.of_value` takes.

    Parameters
    ----------
    model : xgboost.Booster
        A trained booster.

    Returns
    -------
    dict
        The same for two boosters exactly if every split and leaf is.
    """
    import json

    return json.loads(model.save_raw("json"))["learner"]["gradient_booster"]


def probe(model: Any, inputs: Any) -> Any:
    """Let a booster predict for the first held-out rows.

    Parameters
    ----------
    model : xgboost.Booster
        The trained booster.
    inputs : pandas.DataFrame, shape (n, features)
        The held-out rows; at most 100 are used.

    Returns
    -------
    numpy.ndarray, shape (rows,) or (rows, classes)
    """
    import xgboost

    return model.predict(xgboost.DMatrix(inputs.head(100)))


def kind(model: Any) -> dict[str, str]:
    """Say what a model is, by which `compare` judges the difference between two machines.

    Returns
    -------
    dict of str to str
        `class`, and `kind`: "trees".
    """
    return {"class": f"{type(model).__module__}.{type(model).__qualname__}", "kind": "trees"}


def log_model(model: Any, inputs: Any, predictions: Any, requirements: str) -> str:
    """Log a booster without pickle, in XGBoost's own format, with signature, example and hashed requirements.

    Parameters
    ----------
    model : xgboost.Booster
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
    import mlflow.xgboost
    from mlflow.models import infer_signature

    info = mlflow.xgboost.log_model(
        model,
        name="model",
        signature=infer_signature(inputs, predictions),
        input_example=inputs.head(5),
        pip_requirements=requirements,
        model_format="ubj",
    )
    return str(info.model_uri)


def refusal(flavors: dict[str, Any]) -> str | None:
    """Say why a stored model must not be loaded unseen, or None if it may be.

    Parameters
    ----------
    flavors : dict
        The flavours of the stored MLmodel file, which name `LOADER` and no code of their own.
    """
    if flavors.get("xgboost", {}).get("model_class") != "xgboost.core.Booster":
        return "it is not a plain booster: it names a class of its own, whose code would run"
    return None
