"""The files of a record and their digests."""

from __future__ import annotations

from pathlib import Path

from ..common import digest
from ..common.scratch import temporary_folder
from ..store import tracking

#: From 3 on a record holds the digests of its own files and of the model's, and the tag repro.record its own.
SCHEMA_VERSION = 3
#: The stages that make the result.
RESULT = ("weights", "predictions", "metrics")
#: The file of a record that speaks of all others.
RECORD = "record.json"
#: What file managers, and MLflow in a model's, leave in every folder that somebody looks at.
DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini", "registered_model_meta"}


def digest_of_result(stages: dict[str, str]) -> str:
    """Put the digests of weights, predictions and metrics together."""
    return digest.of_value({stage: stages[stage] for stage in RESULT if stage in stages})


def files(folder: Path) -> dict[str, str]:
    """Give the digest of every file of a record or a model but record.json, by its path in the folder."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in DROPPINGS]
    return {path.relative_to(folder).as_posix(): digest.of_file(path) for path in found if path != folder / RECORD}


def files_of_model(uri: str) -> dict[str, str]:
    """Give the digests of the files of a logged model, as the store has them."""
    import mlflow

    place = mlflow.get_logged_model(uri.rpartition("/")[2]).artifact_location
    if (path := tracking.local_path(place)) and path.is_dir():
        return files(path)
    with temporary_folder("record") as scratch:
        folder = scratch / "model"  # a download of a whole model is its destination, where the scratch has its lock
        folder.mkdir()
        return files(Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))))
