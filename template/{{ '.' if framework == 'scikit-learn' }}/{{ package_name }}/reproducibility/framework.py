"""What is particular to scikit-learn: its switches, the content of its models, and how they are stored."""

from __future__ import annotations

from typing import Any

#: Environment variables that only this framework needs; scikit-learn reads the common ones.
LAUNCH_VARIABLES: dict[str, str] = {}

#: Variables that only this framework reads its number of threads from.
THREAD_VARIABLES: tuple[str, ...] = ()

#: The module of MLflow that loads the models of `log_model`.
LOADER = "mlflow.sklearn"

#: Environment variables for loading a stored model unseen.
LOAD_VARIABLES: dict[str, str] = {}

#: Code of these packages may be named by a stored model. skops refuses what is not listed.
TRUSTED_PACKAGES = ("sklearn.", "numpy.", "scipy.")


def set_deterministic(warn_only: bool) -> None:
    """Switch deterministic algorithms on: scikit-learn has no others."""


def nondeterministic_operation(error: BaseException) -> str | None:
    """Name the operation without a deterministic form that ended a training: scikit-learn refuses none."""
    return None


def device() -> str:
    """Tell where the framework computes."""
    return "cpu"


def set_seed(seed: int) -> dict[str, int]:
    """Seed the framework's own generators: scikit-learn has none, it draws from NumPy's."""
    return {}


def weights(model: Any) -> Any:
    """Give all that a fitted estimator consists of, in a form that `digest.of_value` takes.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        A fitted estimator or pipeline.

    Returns
    -------
    Mapping, list, array or number
        The same for two estimators exactly if every parameter, tree and coefficient is.
    """
    return _content(model, set())


def probe(model: Any, inputs: Any) -> Any:
    """Let a fitted estimator predict for the first held-out rows, on one thread: more add votes in any order.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        The fitted estimator; left as it was.
    inputs : pandas.DataFrame, shape (n, features)
        The held-out rows; at most 100 are used.

    Returns
    -------
    numpy.ndarray, shape (rows, classes) or (rows,)
        Probabilities where the estimator gives them, else predictions.
    """
    threads = {name: value for name, value in model.get_params().items() if name.split("__")[-1] == "n_jobs"}
    model.set_params(**dict.fromkeys(threads, 1))
    try:
        return getattr(model, "predict_proba", model.predict)(inputs.head(100))
    finally:
        model.set_params(**threads)


def kind(model: Any) -> dict[str, str]:
    """Say what a fitted estimator is, by which `compare` judges the difference between two machines.

    Returns
    -------
    dict of str to str
        `class`, and `kind`: "convex" (one optimum), "trees" or "other".
    """
    last = model[-1] if hasattr(model, "steps") else model
    family = type(last).__module__.split(".")[1:2]
    kinds = {"linear_model": "convex", "ensemble": "trees", "tree": "trees"}
    return {"class": f"{type(last).__module__}.{type(last).__qualname__}", "kind": kinds.get("".join(family), "other")}


def log_model(model: Any, inputs: Any, predictions: Any, requirements: str) -> str:
    """Log a fitted estimator without pickle, as skops, with signature, example and hashed requirements.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        The fitted estimator.
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
    import mlflow.sklearn
    from mlflow.models import infer_signature

    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(inputs, predictions),
        input_example=inputs.head(5),
        pip_requirements=requirements,
        serialization_format="skops",
        skops_trusted_types=sorted(name for name in _classes(weights(model)) if name.startswith(TRUSTED_PACKAGES)),
    )
    return str(info.model_uri)


def refusal(flavors: dict[str, Any]) -> str | None:
    """Say why a stored model must not be loaded unseen, or None if it may be.

    Parameters
    ----------
    flavors : dict
        The flavours of the stored MLmodel file, which name `LOADER` and no code of their own.
    """
    flavor = flavors.get("sklearn", {})
    if flavor.get("serialization_format") != "skops":
        return "it is stored as a pickle, which runs any code that is in it"
    strange = [t for t in flavor.get("skops_trusted_types") or [] if not t.startswith(TRUSTED_PACKAGES)]
    return f"it names code outside scikit-learn: {', '.join(strange)}" if strange else None


def _content(value: Any, path: set[int]) -> Any:
    """Take estimators, trees, losses and generators apart into arrays, numbers and text."""
    import numpy as np

    if value is None or isinstance(value, bool | int | float | str | bytes | np.generic):
        return value
    if isinstance(value, np.ndarray):
        return [_content(item, path) for item in value.ravel()] if value.dtype.hasobject else value
    if id(value) in path:
        return "recursion"
    path = path | {id(value)}
    if isinstance(value, dict):
        return {str(key): _content(item, path) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_content(item, path) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    state = value.__getstate__() if hasattr(value, "__getstate__") else value.__reduce_ex__(2)[1:3]
    if state is None:  # Cython classes without state of their own keep it in their constructor's arguments
        state = value.__reduce_ex__(2)[1:3]
    return {"class": f"{type(value).__module__}.{type(value).__qualname__}", "state": _content(state, path)}


def _classes(content: Any) -> set[str]:
    if isinstance(content, list):
        return set().union(*map(_classes, content))
    if not isinstance(content, dict):
        return set()
    name = {content["class"]} if content.keys() == {"class", "state"} else set()
    return name.union(*map(_classes, content.values()))
