"""Checkpoints: what a training that was interrupted left in the store, and what a resumed one starts from."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from . import records, tracking
from .project import ProjectError

FOLDER = "checkpoint"
#: In a checkpoint, besides the training's own files.
CONF, COUNT = "conf.yaml", "count"


class Checkpoints:
    """Those of one run.

    Parameters
    ----------
    settings : dict
        The resolved conf, which a resumed run must have too.
    restored : Mapping of str to bytes, optional
        The files that the run starts from.
    """

    def __init__(self, settings: dict[str, Any], restored: Mapping[str, bytes] | None = None) -> None:
        self.settings = settings
        self.restored = dict(restored or {})
        self.count = 0

    def save(self, files: Mapping[str, bytes]) -> None:
        """Log a checkpoint to the active run. Two take turns, so that a kill in the middle leaves one whole."""
        import mlflow

        self.count += 1
        own = {CONF: yaml.safe_dump(self.settings, sort_keys=False).encode(), COUNT: str(self.count).encode()}
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, f"{self.count % 2}.zip")
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in {**files, **own}.items():
                    archive.writestr(name, content)
            mlflow.log_artifact(str(path), FOLDER)


def load(run_id: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read the last whole checkpoint of a run.

    Parameters
    ----------
    run_id : str
        The run that was interrupted.

    Returns
    -------
    tuple of (dict, dict of str to bytes)
        Its conf, and the files that its training saved.

    Raises
    ------
    ProjectError
        If there is no such run, or it left no checkpoint.
    """
    tracking.connect()
    import mlflow
    from mlflow.exceptions import MlflowException

    records.get_run(run_id)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=FOLDER, dst_path=scratch))
            found = [files for path in sorted(folder.glob("*.zip")) if (files := _read(path.read_bytes()))]
        except (MlflowException, OSError):
            found = []
    if not found:
        raise ProjectError(
            f"run {run_id} left no checkpoint: it ended before its first, or its training makes none.",
            "Train anew: just train",
        )
    files = max(found, key=lambda files: int(files.pop(COUNT)))
    return yaml.safe_load(files.pop(CONF)), files


def _read(content: bytes) -> dict[str, bytes]:
    """Read a checkpoint; empty where it was cut off."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}  # checked against their CRC
    except (zipfile.BadZipFile, EOFError):
        return {}
