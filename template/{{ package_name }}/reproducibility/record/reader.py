"""Read the record of a run, and only one that is that run's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..common import strict_yaml, terminal
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..common.project import PACKAGE
from ..store import tracking
from . import integrity, shape
from .schema import CONF, LOCK, RECORD, SCHEMA_VERSION, Record


@terminal.waiting("reading the record")
def download(run: Any, folder: Path) -> Record:
    """Bring the record of a run to this machine, and make sure that neither was changed since.

    Parameters
    ----------
    run : mlflow.entities.Run
        The run.
    folder : Path
        Where to; it must not exist.

    Raises
    ------
    ProjectError
        With exit code 2, if the run has no record that could be read; with 1, if it is not that run's.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    run_id = run.info.run_id
    if run.info.status == "RUNNING":
        raise ProjectError(f"run {run_id} is still going on.", "Wait for it; if its process is gone: just doctor")
    folder.mkdir(parents=True)
    try:
        found = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path="record", dst_path=str(folder), tracking_uri=tracking.store_uri()
        )
    except (MlflowException, OSError) as error:
        raise ProjectError(
            f"run {run_id} ({run.info.status}) has no record: {str(error).partition(chr(10))[0][:200]}",
            "Only a run that finished through `just train`, `just run` or `mlflow run` leaves one: just runs",
            CANNOT_BE_TRIED,
        ) from error
    record = read(run_id, Path(found), run)
    integrity.require_own(record)
    return record


def read(name: str, folder: Path, run: Any = None) -> Record:
    """Read a record from its folder; one of an older schema is completed.

    Raises
    ------
    ProjectError
        With exit code 2, if a part is missing, broken, or of a later schema than this harness knows.
    """
    try:
        content = json.loads((folder / RECORD).read_text("utf-8"))
        settings = strict_yaml.parse((folder / CONF).read_text("utf-8"))
        (folder / LOCK).stat()
        known = content["schema"] <= SCHEMA_VERSION
        if known and (wrong := [*shape.wrong(content, shape.RECORD, content["schema"], RECORD)]):
            raise ValueError("; ".join(wrong[:4]))
        exact = content["metrics"] if known else {}
        metrics = {metric: float.fromhex(value) for metric, value in exact.items()}
    except (OSError, ValueError, KeyError, TypeError, ProjectError) as error:
        raise ProjectError(
            f"the record of run {name} is incomplete: {error}.",
            "The artifact folder record/ of the run holds it; restore that from a backup of the store.",
            CANNOT_BE_TRIED,
        ) from error
    if not known:
        raise ProjectError(
            f"the record of run {name} has schema {content['schema']}; this harness knows {SCHEMA_VERSION} at most.",
            "Bring the harness up to date: the README's part on the template says how.",
            CANNOT_BE_TRIED,
        )
    return Record(name, folder, _completed(content), settings, content["stages"], metrics, run)


def _completed(content: dict[str, Any]) -> dict[str, Any]:
    """Add what schema 1 did not have: it kept no uncommitted work, no modules and no fingerprint."""
    code = {"remote": "", "branch": "", "folder": "", "tree": "", "patch": "", "left_out": [], "modules": {}}
    return {"project": PACKAGE, "model": {"kind": "other"}, **content, "code": {**code, **content["code"]}}
