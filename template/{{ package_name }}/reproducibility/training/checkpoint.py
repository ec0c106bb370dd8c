"""Checkpoints: what a training that was interrupted left in the store, and what a resumed one starts from."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import ProjectError
from ..common.project import MAIN
from ..common.scratch import temporary_folder
from ..record import lookup
from ..store import tracking

FOLDER = "checkpoint"
#: In a checkpoint, besides the training's own files.
CONF, STATE = "conf.yaml", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a training goes on from.

    Parameters
    ----------
    settings : dict
        The resolved conf of the run that was interrupted.
    files : dict of str to bytes
        What its training saved.
    stages : dict of str to str
        The digests that it had noted by then.
    tag : dict of str to str
        Says of the run that goes on which one it goes on from.
    step : str
        The step of the project whose run it was.
    """

    settings: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    tag: dict[str, str] = field(default_factory=dict)
    step: str = MAIN


class Checkpoints:
    """Those of one run, which starts from a checkpoint too: without files and stages from the beginning."""

    def __init__(self, start: Checkpoint) -> None:
        self.start = start
        self.count = 0

    def save(self, files: Mapping[str, bytes], stages: Mapping[str, str]) -> None:
        """Log a checkpoint to the active run. Two take turns, so that a kill in the middle leaves one whole."""
        import mlflow

        self.count += 1
        with temporary_folder("checkpoint") as scratch:
            path = scratch / f"{self.count % 2}.zip"
            write(path, replace(self.start, files=dict(files), stages=dict(stages)), self.count)
            mlflow.log_artifact(str(path), FOLDER)


def write(path: Path, checkpoint: Checkpoint, count: int = 0) -> None:
    """Write a checkpoint into a file, with the number of those that its run has made."""
    own = {
        CONF: yaml.safe_dump(checkpoint.settings, sort_keys=False).encode(),
        STATE: json.dumps({"count": count, "stages": checkpoint.stages, "step": checkpoint.step}).encode(),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**checkpoint.files, **own}.items():
            archive.writestr(name, content)


def read(path: Path) -> Checkpoint:
    """Read what `write` wrote."""
    return _checkpoint(_read(path.read_bytes()))


def load(run_id: str) -> Checkpoint:
    """Read the last whole checkpoint of a run that was interrupted; "last" is the last one that did not finish.

    Raises
    ------
    ProjectError
        If there is no such run, or it left no checkpoint.
    """
    tracking.connect()
    import mlflow
    from mlflow.exceptions import MlflowException

    run_id = lookup.get_run(run_id, last=("KILLED", "FAILED")).info.run_id
    with temporary_folder("checkpoint") as scratch:
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
    last = max(found, key=lambda files: json.loads(files[STATE])["count"])
    return replace(_checkpoint(last), tag={"repro.resumes": run_id})


def _checkpoint(files: dict[str, bytes]) -> Checkpoint:
    settings, state = yaml.safe_load(files.pop(CONF)), json.loads(files.pop(STATE))
    return Checkpoint(settings, files, state["stages"], step=state.get("step", MAIN))


def _read(content: bytes) -> dict[str, bytes]:
    """Read a checkpoint; empty where it was cut off."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}  # checked against their CRC
    except (zipfile.BadZipFile, EOFError):
        return {}
