"""Batch predictions with the model of a run."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import framework, promote, records, tracking
from .datasets import read
from .project import PACKAGE, ProjectError, write_whole

if TYPE_CHECKING:
    import pandas as pd


def predict(model: str, file: Path, output: Path, allow_unsafe: bool = False) -> pd.DataFrame:
    """Predict for every row of a file, and write the rows with a column `prediction`.

    Parameters
    ----------
    model : str
        A run ID, or "champion" for the registered model of that alias.
    file : Path
        CSV or parquet, with the columns that the model was trained on; others are kept and not used.
    output : Path
        A CSV file, written wholly or not at all.
    allow_unsafe : bool, default False
        Load a pickle, or a model that names code of strangers.

    Returns
    -------
    pandas.DataFrame
        The rows with their predictions.

    Raises
    ------
    ProjectError
        If there is no such model or file, a column is missing, or the model is not safe to load.
    """
    if not file.is_file():
        raise ProjectError(f"{file} does not exist.", "Give a .csv or .parquet file.", exit_code=64)
    import numpy as np

    loaded = _load(model, allow_unsafe)
    rows = read(file)
    schema = loaded.metadata.get_input_schema()
    # A format of tensors knows no names, so the model brings them along.
    wanted = loaded.metadata.metadata["columns"] if schema.is_tensor_spec() else schema.input_names()
    missing = [name for name in wanted if name not in rows.columns]
    if missing:
        raise ProjectError(
            f"{file.name} lacks columns that the model was trained on: {', '.join(missing)}.",
            f"It needs: {', '.join(wanted)}.",
        )
    try:
        if schema.is_tensor_spec():
            inputs = rows[wanted].to_numpy(schema.input_types()[0])
        else:
            inputs = rows[wanted].astype(dict(zip(wanted, schema.pandas_types(), strict=True)))
    except ValueError as error:
        raise ProjectError(f"{file.name} has a value of another type: {error}.", "Correct that value.") from error
    rows["prediction"] = np.asarray(loaded.predict(inputs)).reshape(len(rows))
    text = io.StringIO()
    rows.to_csv(text, index=False, lineterminator="\n")
    write_whole(output, text.getvalue())
    return rows


def _load(model: str, allow_unsafe: bool) -> Any:
    tracking.connect()
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        if model == promote.ALIAS:
            uri = f"models:/{PACKAGE}@{promote.ALIAS}"
        else:
            # By its tag: a training may log models of its own beside the one that it gives back.
            run = records.get_run(model)
            model = run.info.run_id
            outputs = run.outputs.model_outputs
            uri = run.data.tags.get("repro.model") or (f"models:/{outputs[0].model_id}" if len(outputs) == 1 else "")
            if not uri:
                raise ProjectError(f"run {model} logged no model.", "Choose a run that finished: just ui")
        path = mlflow.artifacts.download_artifacts(uri)
    except (MlflowException, OSError) as error:
        first_line = str(error).partition("\n")[0]
        raise ProjectError(
            f"there is no model to load for {model!r}: {first_line}",
            "Take a run ID from `just runs`. A champion: `just promote RUN_ID` makes one.",
        ) from error
    flavors = Model.load(path).flavors
    loader = flavors.get("python_function", {}).get("loader_module")
    if loader != framework.LOADER or any(flavor.get("code") for flavor in flavors.values()):
        refusal: str | None = "it brings code of its own"
    else:
        refusal = framework.refusal(flavors)
    if refusal and not allow_unsafe:
        raise ProjectError(f"the model of {model} is not loaded: {refusal}.", "If you trust it: --allow-unsafe")
    if not allow_unsafe:
        os.environ.update(framework.LOAD_VARIABLES)
    try:
        return mlflow.pyfunc.load_model(path)
    except MlflowException as error:
        first_line = str(error).partition("\n")[0]
        raise ProjectError(
            f"the model of {model} is not loaded: {first_line}", "If you trust it: --allow-unsafe"
        ) from error
