"""Copies of datasets in the tracking store: each file once, under the digest of its content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..common.scratch import temporary_folder
from ..store import tracking
from .folders import Listing
from .manifest import Dataset

#: Tags of the tracking run that keeps a copy of a dataset: its digest, and its name.
STORED_TAG, NAME_TAG = "repro.stored_data", "repro.stored_name"
#: Where in the run, and what says there which run has the bytes of which digest.
FOLDER, WHERE = "data", "where.json"
#: So many files are handed to MLflow at once.
BATCH = 200


def find(content: str) -> str | None:
    """Find the copy of a file's bytes, or of a folder's listing, as a `runs:/` URI."""
    run = _newest(f"tags.`{STORED_TAG}` = '{content}'")
    return _address(run.info.run_id, content) if run else None


def of_folder(dataset: Dataset) -> dict[str, str]:
    """Find the copies of a folder's files: `runs:/` URIs by digest; empty where there are none."""
    run = _newest(f"tags.`{STORED_TAG}` = '{dataset.digest}'")
    return {content: _address(holder, content) for content, holder in _holders(run).items()}


def keep(
    dataset: Dataset, place: Path, contents: Listing, listing: Path, progress: Callable[[int], object] = lambda _: None
) -> None:
    """Keep a copy of a dataset, so that these bytes can be had back later.

    Parameters
    ----------
    dataset : Dataset
        The entry. Of a folder, what an earlier version of it had is not kept again.
    place : Path
        Where the file or folder lies now.
    contents : Mapping of str to File
        What it holds.
    listing : Path
        Of a folder, the file that says so.
    progress : callable, optional
        Called with the number of bytes that were kept since.
    """
    import mlflow

    if find(dataset.digest):
        return
    earlier = _holders(_newest(f"tags.`{NAME_TAG}` = '{dataset.name}'")) if dataset.files else {}
    wanted = {file.digest: place / path for path, file in contents.items() if file.digest not in {"", *earlier}}
    sizes = {file.digest: file.size for file in contents.values()}
    wanted |= {dataset.digest: listing} if dataset.files else {}
    with temporary_folder("register") as scratch, mlflow.start_run(run_name=f"data: {dataset.name}") as run:
        if dataset.files:
            holders = earlier | dict.fromkeys(wanted, run.info.run_id)
            (scratch / WHERE).write_text(json.dumps(holders, indent=0), "utf-8")
            mlflow.log_artifact(str(scratch / WHERE), FOLDER)
        for start in range(0, len(wanted), BATCH):
            batch = scratch / str(start)
            batch.mkdir()
            contained = list(wanted)[start : start + BATCH]
            for content in contained:
                (batch / _name(content)).symlink_to(wanted[content].resolve())
            mlflow.log_artifacts(str(batch), FOLDER)
            progress(sum(sizes.get(content, 0) for content in contained))
        mlflow.set_tags({STORED_TAG: dataset.digest, NAME_TAG: dataset.name})


def _newest(condition: str) -> Any:
    """Find the newest finished run of a condition that keeps copies."""
    import mlflow

    runs = mlflow.search_runs(
        [tracking.connect()], f"{condition} and attributes.status = 'FINISHED'", output_format="list", max_results=1
    )
    return runs[0] if runs else None


def _holders(run: Any) -> dict[str, str]:
    """Read which runs have the files of the folder that a run keeps, by digest; those that were deleted have none."""
    import mlflow
    from mlflow.exceptions import MlflowException

    if run is None:
        return {}
    try:
        told: dict[str, str] = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/{FOLDER}/{WHERE}")
    except MlflowException:  # of a file
        return {}
    client = mlflow.MlflowClient()
    active = {holder: client.get_run(holder).info.lifecycle_stage == "active" for holder in {*told.values()}}
    return {content: holder for content, holder in told.items() if active[holder]}


def _address(run_id: str, content: str) -> str:
    return f"runs:/{run_id}/{FOLDER}/{_name(content)}"


def _name(content: str) -> str:
    return content.removeprefix("sha256:")
