"""Batch predictions with the model of a run."""

from __future__ import annotations

import io
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import adapter
from ..common import terminal
from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.files import write_whole
from ..common.project import PACKAGE
from ..datasets import tables
from ..datasets.loading import read
from ..framework import FRAMEWORK
from ..record import lookup
from ..record.schema import as_table
from ..record.stored_model import stored
from ..source import own_code
from ..store import tracking
from . import named_files, promote

if TYPE_CHECKING:
    import pandas as pd


def predict(model: str, file: Path, output: Path, allow_unsafe: bool = False) -> pd.DataFrame:
    """Predict for every row of a file, and write the rows with what is predicted.

    Parameters
    ----------
    model : str
        A run ID, or "champion" for the registered model of that alias.
    file : Path
        CSV or parquet, with the columns that the model was trained on; others are kept and not used. For a model of
        files, their folder or one of them.
    output : Path
        A CSV file, written wholly or not at all.
    allow_unsafe : bool, default False
        Load a pickle, or a model that names code of strangers.

    Returns
    -------
    pandas.DataFrame
        The rows with their predictions: `prediction`, and of a model with more outputs `prediction 1` and so on; of a
        classifier that can tell, a column `probability CLASS` for each class.

    Raises
    ------
    ProjectError
        If there is no such model or file, a column is missing, or the model is not safe to load.
    """
    if not file.exists():
        raise ProjectError(f"{file} does not exist.", "Give a .csv or .parquet file.", exit_code=USAGE)
    path = _download(model)
    loaded = _load(model, path, allow_unsafe)
    of_files = named_files.are_inputs(loaded.metadata)
    listed = of_files and not tables.suffix(file.name)
    rows = named_files.listed(file) if listed else read(file, texts=_texts(loaded.metadata))
    inputs = _inputs(rows, loaded.metadata, file.name)
    inputs = named_files.placed(inputs, file) if of_files else inputs
    with terminal.waiting("predicting"):
        predictions = as_table(loaded.predict(inputs))
    if len(predictions) != len(rows):
        raise ProjectError(
            f"the model gave {len(predictions):,} predictions for the {len(rows):,} rows of {file.name}.",
            "It answers something else than a prediction a row; `mlflow.pyfunc.load_model` gives what it says.",
        )
    for name in predictions:
        rows[name] = predictions[name].to_numpy()
    for name, column in _probabilities(loaded, inputs).items():
        rows[name] = column
    text = io.StringIO()
    rows.to_csv(text, index=False, lineterminator="\n")
    write_whole(output, text.getvalue())
    return rows


def _texts(metadata: Any) -> list[str]:
    """Name the columns that the model takes as texts, of which a file may have digits alone."""
    schema = metadata.get_input_schema()
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return []
    return [column.name for column in schema.inputs if column.type.name == "string"]


def _probabilities(loaded: Any, inputs: Any) -> dict[str, Any]:
    """Ask a classifier for the probability of each class; empty where it knows none."""
    import numpy as np

    wrapper = loaded._model_impl
    model: Any = wrapper.get_raw_model() if hasattr(wrapper, "get_raw_model") else None
    if not (hasattr(model, "predict_proba") and hasattr(model, "classes_")):
        return {}
    found = np.asarray(model.predict_proba(wrapper.rows(inputs) if hasattr(wrapper, "rows") else inputs))
    if found.ndim != 2 or found.shape[1] != len(model.classes_):  # of a model with several targets
        return {}
    return {f"probability {name}": column for name, column in zip(model.classes_, found.T, strict=True)}


def _inputs(rows: pd.DataFrame, metadata: Any, label: str) -> Any:
    """Take from a table what a model was trained on, in the form in which it takes it."""
    schema = metadata.get_input_schema()
    known = (metadata.metadata or {}).get("columns")
    # A format of tensors knows no names, so the model brings them along.
    named = schema.input_names() if schema and not schema.is_tensor_spec() and schema.has_input_names() else known
    if (metadata.metadata or {}).get("single"):
        return _single(rows, label)
    wanted = named if isinstance(named, list) else list(rows.columns) if named is None else [named]
    missing = [name for name in wanted if name not in rows.columns]
    if missing:
        raise ProjectError(
            f"{label} lacks columns that the model was trained on: {', '.join(map(str, missing))}.",
            f"It needs: {', '.join(map(str, wanted))}.",
        )
    if isinstance(known, str):
        return rows[known]
    try:
        if schema is None:
            return rows[wanted]
        if schema.is_tensor_spec():
            return rows[wanted].to_numpy(schema.input_types()[0])
        return rows[wanted].astype(dict(zip(wanted, schema.pandas_types(), strict=True)))
    except ValueError as error:
        raise ProjectError(f"{label} has a value of another type: {error}.", "Correct that value.") from error


def _single(rows: pd.DataFrame, label: str) -> Any:
    """Take the one column that there is, for a model that was trained on values without a name."""
    if len(rows.columns) != 1:
        raise ProjectError(
            f"the model takes one value a row, and {label} has {len(rows.columns)} columns.",
            "Give a file with that column alone.",
        )
    return rows.iloc[:, 0].to_numpy()


@terminal.waiting("fetching the model")
def _download(model: str) -> Path:
    tracking.connect()
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        champion = f"models:/{PACKAGE}@{promote.ALIAS}"
        uri = champion if model == promote.ALIAS else stored(lookup.get_run(model))
        return Path(mlflow.artifacts.download_artifacts(uri))
    except (MlflowException, OSError) as error:
        first_line = str(error).partition("\n")[0]
        raise ProjectError(
            f"there is no model to load for {model!r}: {first_line}",
            "Take a run ID from `just runs`. A champion: `just promote RUN_ID` makes one.",
        ) from error


@terminal.waiting("loading the model")
def _load(model: str, path: Path, allow_unsafe: bool) -> Any:
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    described = Model.load(path)
    if not allow_unsafe:
        _require_safe(model, path, described)
        os.environ.update(FRAMEWORK.load_variables)
    if "python_function" not in described.flavors:
        raise ProjectError(f"the model of {model} has no `predict`.", "Choose another run: just runs")
    try:
        return mlflow.pyfunc.load_model(str(path))
    except (MlflowException, NotImplementedError) as error:
        first_line = str(error).partition("\n")[0]
        raise ProjectError(
            f"the model of {model} is not loaded: {first_line}", "If you trust it: --allow-unsafe"
        ) from error


def _require_safe(model: str, path: Path, described: Any) -> None:
    """Refuse what would run code that is not of the locked packages, nor of this project as it is."""
    code = (described.metadata or {}).get("code") or {"commit": "", "modules": {}}
    loader = described.flavors.get("python_function", {}).get("loader_module")
    changed = own_code.changed(code["modules"])
    if any(flavor.get("code") for flavor in described.flavors.values()):
        refusal: str | None = "it brings code of its own"
    elif not _is_of_one_piece(path, described.flavors):
        refusal = "it holds another model, or names files elsewhere"
    elif changed:
        raise ProjectError(
            f"the model of {model} needs {', '.join(changed)} as in commit {code['commit'][:10]}; here they are not.",
            f"git checkout {code['commit'][:10]} -- {shlex.join(changed)}\n"
            "or, if today's serve as well: --allow-unsafe",
        )
    elif loader == adapter.LOADER:
        refusal = None  # `adapter.find` takes classes of the project only, and these are as they were
    elif loader not in {None, FRAMEWORK.loader}:
        refusal = f"it brings code of its own, or names a loader of its own: {loader}"
    else:
        refusal = FRAMEWORK.refusal(described.flavors, own=bool(code["modules"]))
    if refusal:
        raise ProjectError(f"the model of {model} is not loaded: {refusal}.", "If you trust it: --allow-unsafe")


def _is_of_one_piece(path: Path, flavors: dict[str, dict[str, Any]]) -> bool:
    """Tell whether what was looked at is what MLflow will load: it follows paths, to another model if there is one."""
    values = [value for flavor in flavors.values() for value in flavor.values() if isinstance(value, str)]
    inside = all((path / value).resolve().is_relative_to(path.resolve()) for value in values)
    return inside and [file.parent for file in path.rglob("MLmodel")] == [path]
