"""A dataset as `train` gets it: verified, read as a table, logged to the run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..source import handed
from . import recognition, tables
from .manifest import Dataset, find
from .retrieval import restore
from .verification import refuse_pointer, verify

if TYPE_CHECKING:
    import pandas as pd


def require(name: str, patience: float = 0) -> Dataset:
    """Give a dataset whose file is there and is the registered one; fetch it if it is missing.

    Parameters
    ----------
    name : str
        The entry.
    patience : float, default 0
        For how many seconds to leave the fetching to another process.
    """
    dataset = find(name)
    deadline = time.monotonic() + patience
    while not dataset.file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    if not dataset.file.exists() and not handed.container():  # where data can only be read
        restore(dataset)
    verify(dataset)
    return dataset


def read(file: Path, label: str | None = None, how: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Read a text or parquet file as a table.

    Parameters
    ----------
    file : Path
        The file; its suffix says which of the two it is.
    label : str, optional
        What an error calls it, by default its path.
    how : Mapping of str to Any, optional
        How a text table is written, as its entry says; recognised by default.

    Raises
    ------
    ProjectError
        If the file is neither, cannot be parsed, or could be read in more than one way.
    """
    import pandas as pd

    kind = tables.suffix(file.name)
    if not kind:
        raise ProjectError(f"{file.name} is neither .csv nor .parquet.", "Convert it first.", exit_code=USAGE)
    try:
        refuse_pointer(file, label or str(file))
        if kind == tables.PARQUET:
            table = pd.read_parquet(file)
            if how is None and not table.columns.is_unique:
                raise ValueError("names stand twice")
            return table
        return tables.load(file, recognition.recognise(file, label or file, nameless=True) if how is None else how)
    except tables.UNREADABLE as error:
        raise ProjectError(
            f"{label or file} cannot be read as a table: {error}.",
            "It must be a parquet file, or CSV with a line of column names and no more values than names in any row.\n"
            "Of a dataset: mend the file, then `just data-add FILE`, which finds out how it is written.",
        ) from error


def log(dataset: Dataset, table: pd.DataFrame) -> None:
    """Log a dataset as an input of the active run, with the digest of its full content.

    MLflow's own digest sees the first 10,000 rows only, and its column types cost a pass over every cell.
    """
    import mlflow
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.exceptions import MlflowException
    from mlflow.types import ColSpec, Schema

    # Not `resolve_dataset_source`, which warns that a path could be read in more than one way.
    source = get_dataset_source_from_json(json.dumps({"uri": dataset.file.as_uri()}), "local")
    schema = Schema([ColSpec(_mlflow_type(str(kind)), str(name)) for name, kind in table.dtypes.items()])
    short = dataset.digest.removeprefix("sha256:")[:36]  # MLflow takes 36 characters at most
    entry = MetaDataset(source, name=dataset.name, digest=short, schema=schema)
    tags = {"repro.digest": dataset.digest}
    try:
        mlflow.log_input(entry, context="training", tags=tags)
    except MlflowException:
        # Of two runs that log it first at one instant, MLflow lets one fail. By now it is there.
        mlflow.log_input(entry, context="training", tags=tags)


def _mlflow_type(dtype: str) -> str:
    if dtype.startswith(("int", "uint", "Int", "UInt")):
        return "long"
    names = {"float": "double", "bool": "boolean", "datetime": "datetime"}
    return next((name for prefix, name in names.items() if dtype.lower().startswith(prefix)), "string")
