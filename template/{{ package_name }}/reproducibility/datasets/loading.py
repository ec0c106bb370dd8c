"""A dataset as `train` gets it: verified, read as a table, logged to the run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.project import ROOT
from ..source import handed
from . import recognition, remembered, tables
from .manifest import Dataset, find
from .retrieval import restore
from .verification import refuse_pointer, verify

if TYPE_CHECKING:
    import pandas as pd


def require(name: str, patience: float = 0) -> Dataset:
    """Give a dataset that is there and is the registered one; fetch it if it is missing.

    Outside of a proof, what is unchanged since it was verified is not read again.

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
    if not handed.container():  # where data can only be read
        if not dataset.file.exists():
            restore(dataset)
        elif dataset.files and dataset.file.is_dir() and dataset.file.is_relative_to(ROOT):
            _make_empty(dataset)
    verify(dataset, remember=remembered.allowed())
    return dataset


def _make_empty(dataset: Dataset) -> None:
    """Make the folders with nothing in them, which git does not keep."""
    for path, file in dataset.contents().items():
        if not file.digest:
            (dataset.file / path).mkdir(parents=True, exist_ok=True)


def table(dataset: Dataset, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a dataset as a table: a file, or the parquet files of a folder one after the other, in the order of names.

    Parameters
    ----------
    dataset : Dataset
        The entry.
    columns : list of str, optional
        Of which columns, in this order; of all by default.

    Raises
    ------
    ProjectError
        If it is none, or cannot be parsed.
    """
    import pandas as pd

    if not dataset.files:
        return read(dataset.file, dataset.path, dataset.read, columns)
    # Of what wrote the parts, such as `_SUCCESS`.
    parts = [path for path in dataset.contents() if not path.rpartition("/")[2].startswith(("_", "."))]
    if not parts or not all(tables.suffix(part) in tables.PARQUET for part in parts):
        raise ProjectError(
            f"dataset {dataset.name!r} is a folder of other files than parts of one parquet table.",
            f"run.path({dataset.name!r}) gives the verified folder, for your own code to read.",
        )
    found = [read(dataset.file / part, f"{dataset.path}/{part}", {}, columns) for part in parts]
    if len({tuple(one.columns) for one in found}) > 1:
        raise ProjectError(
            f"dataset {dataset.name!r}: its parts have different columns.",
            f"Name those that all have: run.dataset({dataset.name!r}, columns=[…])",
        )
    return pd.concat(found, ignore_index=True)


def read(
    file: Path,
    label: str | None = None,
    how: Mapping[str, Any] | None = None,
    columns: list[str] | None = None,
    texts: Sequence[str] = (),
) -> pd.DataFrame:
    """Read a file as a table: text, JSON lines, parquet or feather.

    Parameters
    ----------
    file : Path
        The file; its suffix says which of these it is.
    label : str, optional
        What an error calls it, by default its path.
    how : Mapping of str to Any, optional
        How a text table is written, as its entry says; recognised by default.
    columns : list of str, optional
        Which columns, in this order; all by default.
    texts : sequence of str
        Columns of a text table that are taken as they are written, whatever they look like.

    Raises
    ------
    ProjectError
        If the file is none of these, cannot be parsed, or could be read in more than one way.
    """
    kind = tables.suffix(file.name)
    if not kind:
        raise ProjectError(
            f"{label or file.name} is no table that can be read: it is neither .csv, .jsonl, .parquet nor .feather.",
            "run.path(NAME) gives the verified file of a dataset, for your own code to read; or convert it.",
            exit_code=USAGE,
        )
    try:
        refuse_pointer(file, label or str(file))
        if kind not in tables.TEXTS:
            found = tables.load_binary(file, kind, columns)
            if how is None and not found.columns.is_unique:
                raise ValueError("names stand twice")
            return found
        how = recognition.recognise(file, label or file, nameless=True) if how is None else how
        found = tables.load(file, how, dtype=dict.fromkeys(texts, "str"))
        missing = [name for name in columns or () if name not in found]
        if missing:
            raise ValueError(f"it has no column {', '.join(missing)}")
        return found if columns is None else found[columns]
    except tables.UNREADABLE as error:
        raise ProjectError(
            f"{label or file} cannot be read as a table: {error}.",
            "It must be parquet, feather, JSON with an object a line, or CSV with a line of column names and no more\n"
            "values than names in any row.\n"
            "Of a dataset: mend the file, then `just data-add FILE`, which finds out how it is written.",
        ) from error


def log(dataset: Dataset, table: pd.DataFrame | None) -> None:
    """Log a dataset, as the table that was read or as files, as an input of the active run with its whole digest.

    MLflow's own digest sees the first 10,000 rows only, and its column types cost a pass over every cell.
    """
    import mlflow
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.exceptions import MlflowException
    from mlflow.types import ColSpec, Schema

    # Not `resolve_dataset_source`, which warns that a path could be read in more than one way.
    source = get_dataset_source_from_json(json.dumps({"uri": dataset.file.as_uri()}), "local")
    columns = [] if table is None else table.dtypes.items()
    specs = [ColSpec(_mlflow_type(str(kind)), str(name)) for name, kind in columns]
    schema = Schema(specs) if specs else None
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
