"""What the harness asks of a model: what it is made of, what it predicts, how it is kept."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .common.errors import ProjectError
from .common.project import PACKAGE
from .common.scratch import temporary_folder

#: The first held-out rows: a model is asked about them when two runs are compared, and its signature is made of them.
PROBED = 100
#: The module by which MLflow loads what an adapter of the user's own has saved: this one.
LOADER = __name__


class ModelAdapter:
    """What the harness asks of a model.

    Each framework has one; a training that brings another kind of model gives back a subclass of its own, as
    `Result(…, adapter=MyAdapter())`. What it does not override is as here. It is made again without arguments when a
    stored model is loaded, so it stands at the top of a module and keeps nothing.
    """

    def content(self, model: Any) -> Any:
        """Give what is compared: values, or objects, which are taken apart.

        Parameters
        ----------
        model : Any
            The fitted model.

        Returns
        -------
        Any
            Whatever makes two models the same, and nothing besides: no times, no addresses, no counters.
        """
        return model

    def rows(self, inputs: Any) -> Any:
        """Give rows of a table in the form in which the model takes them: by default as they are."""
        return inputs

    def predict(self, model: Any, rows: Any) -> Any:
        """Predict for rows in that form; one prediction a row, shape (n,) or (n, outputs)."""
        return model.predict(rows)

    def probe(self, model: Any, inputs: Any) -> Any:
        """Let the model predict for the first held-out rows, in the way that says most: one model, one answer.

        Parameters
        ----------
        model : Any
            The fitted model; left as it was.
        inputs : Any
            `Result.inputs`, at most `PROBED` rows of it.

        Returns
        -------
        Any
            Values that `digest.of_value` takes.
        """
        return self.predict(model, self.rows(inputs))

    def kind(self, model: Any) -> dict[str, str]:
        """Say what a model is, by which `compare` judges the difference between two machines.

        Returns
        -------
        dict of str to str
            `class`, and `kind`: "convex" (one optimum), "trees" or "other".
        """
        return {"class": f"{type(model).__module__}.{type(model).__qualname__}", "kind": "other"}

    def save(self, model: Any, folder: Path) -> None:
        """Write a model into a folder, in a format that runs no code when it is read: no pickle.

        Raises
        ------
        NotImplementedError
            If there is no such format. The run goes on without a stored model, and says so.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has no `save` and `load`, and without them a {type(model).__qualname__} has no "
            "format here but pickle"
        )

    def load(self, folder: Path) -> Any:
        """Read what `save` wrote."""
        raise NotImplementedError(f"{type(self).__qualname__} has no `load`")

    def log_model(self, model: Any, beside: Mapping[str, Any], names: frozenset[str]) -> str:
        """Log a model to the active run.

        Parameters
        ----------
        model : Any
            The fitted model.
        beside : Mapping
            What every flavour of MLflow takes: `name`, `signature`, `input_example`, `pip_requirements`, `metadata`.
        names : frozenset of str
            "module.name" of the classes and functions that it is made of.

        Returns
        -------
        str
            URI of the logged model.
        """
        import mlflow.pyfunc

        with temporary_folder("model") as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there is no example, which this flavour cannot try
            folder = scratch / "model"
            folder.mkdir()
            self.save(model, folder)
            own = {"adapter": f"{type(self).__module__}.{type(self).__qualname__}"}
            info = mlflow.pyfunc.log_model(
                **{**beside, "metadata": beside["metadata"] | own, "input_example": None},
                loader_module=LOADER,
                data_path=str(folder),
            )
        return str(info.model_uri)


def beside(adapter: ModelAdapter, inputs: Any, predictions: Any, requirements: str, code: Any) -> dict[str, Any]:
    """Put together what MLflow stores beside a model.

    Parameters
    ----------
    adapter : ModelAdapter
        Of the model.
    inputs : Any
        The held-out rows; the first make signature and example.
    predictions : Any
        What the model predicts for them.
    requirements : str
        Path of the lock that the model needs.
    code : dict
        The commit, and the digests of the project's modules that the model is made of.

    Returns
    -------
    dict
        Arguments of every `log_model` of MLflow.
    """
    import numpy as np
    import pandas as pd
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    rows = adapter.rows(first(inputs))
    single = isinstance(rows, pd.Series) or _is_single(rows)
    try:
        # Of one value a row MLflow would make a table before it predicts, in which a reader of texts finds one: a name.
        signature = None if single else infer_signature(rows, first(predictions))
    except (MlflowException, TypeError, ValueError):  # rows for which MLflow has no schema, such as texts in a list
        signature = None
    columns: Any = list(inputs.columns) if isinstance(inputs, pd.DataFrame) else getattr(inputs, "name", None)
    return {
        "name": "model",
        "signature": signature,
        # MLflow stores no example of other kinds.
        "input_example": first(rows, 5) if isinstance(rows, pd.DataFrame | np.ndarray) else None,
        "pip_requirements": requirements,
        "metadata": {"columns": columns, "single": columns is None and single, "code": code},
    }


def _is_single(rows: Any) -> bool:
    """Tell whether there is one value a row and no name for it: a list of texts, an array of one dimension."""
    import numpy as np

    try:
        return not isinstance(rows, Mapping) and np.ndim(rows) == 1
    except ValueError:  # rows of several lengths
        return False


def first(rows: Any, count: int = PROBED) -> Any:
    """Give the first rows of a table, a column, an array, a sparse matrix, a list, or a mapping of these."""
    if isinstance(rows, Mapping):
        return {name: first(part, count) for name, part in rows.items()}
    if hasattr(rows, "iloc"):
        return rows.iloc[:count]
    if hasattr(rows, "tocsr"):
        return rows.tocsr()[:count]
    return rows[:count]


def find(name: str) -> ModelAdapter:
    """Make the adapter that a stored model names, from the project's own package.

    Raises
    ------
    ProjectError
        If the project has it no more.
    """
    module, _, attribute = name.rpartition(".")
    try:
        if not module.startswith(f"{PACKAGE}."):
            raise ImportError(f"{module} is not of this project")
        kind = getattr(importlib.import_module(module), attribute)
        if not (isinstance(kind, type) and issubclass(kind, ModelAdapter) and kind.__module__ == module):
            raise TypeError("it is no ModelAdapter")  # and is not called: a function could do anything
        return kind()
    except (ImportError, AttributeError, TypeError) as error:
        raise ProjectError(
            f"the model was stored by {name}, which cannot be used: {error}.",
            "Check the commit of its run out, or put that class back.",
        ) from error


def _load_pyfunc(path: str) -> Any:
    """Load a stored model for MLflow's own tools; they call a function of this name, with the folder of the model."""
    from mlflow.models import Model

    root = next(folder for folder in Path(path).parents if (folder / "MLmodel").is_file())
    adapter = find(Model.load(str(root)).metadata["adapter"])
    return _Predictor(adapter, adapter.load(Path(path)))


class _Predictor:
    """What MLflow expects of a loaded model."""

    def __init__(self, adapter: ModelAdapter, model: Any) -> None:
        self.adapter = adapter
        self.model = model

    def rows(self, inputs: Any) -> Any:
        return self.adapter.rows(inputs)

    def predict(self, inputs: Any) -> Any:
        return self.adapter.predict(self.model, self.rows(inputs))

    def get_raw_model(self) -> Any:
        return self.model
