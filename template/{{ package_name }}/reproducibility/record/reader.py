"""Read the record of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import conf
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..common.project import PACKAGE
from ..store import tracking
from .schema import RECORD, SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Record:
    """What a run left behind.

    Parameters
    ----------
    name : str
        The run's ID, or what stands for it in messages.
    folder : Path
        The artifact folder `record/`, on this machine.
    content : dict
        record.json, in today's schema.
    conf : dict
        The resolved settings.
    logged : tuple of frozenset of str
        Names of the run's metrics, parameters and tags; empty of a record that is read without its run.
    """

    name: str
    folder: Path
    content: dict[str, Any]
    conf: dict[str, Any]
    logged: tuple[frozenset[str], ...] = ()

    @property
    def lock(self) -> bytes:
        """The runtime lock that the run was made under."""
        return (self.folder / "constraints.txt").read_bytes()

    @property
    def patch(self) -> bytes:
        """The uncommitted work; empty where there was none."""
        file = self.folder / "uncommitted.patch"
        return file.read_bytes() if file.exists() else b""

    @property
    def stages(self) -> dict[str, str]:
        """The digest of every stage, in the order in which the run made them."""
        return dict(self.content["stages"])

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics, exactly."""
        return {name: float.fromhex(value) for name, value in self.content["metrics"].items()}

    def parts(self) -> dict[str, str]:
        """Read the digests of the parts of the model, by path; empty for a record of before they were kept."""
        file = self.folder / "model.json"
        return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}

    def predictions(self) -> pd.DataFrame | None:
        """Read the predictions; None for a record of before they were kept."""
        import pandas as pd

        file = self.folder / "predictions.parquet"
        return pd.read_parquet(file) if file.exists() else None


def download(run: Any, folder: Path) -> Record:
    """Bring the record of a run to this machine.

    Parameters
    ----------
    run : mlflow.entities.Run
        The run.
    folder : Path
        Where to; it must not exist.

    Raises
    ------
    ProjectError
        With exit code 2, if the run has no record that could be read.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    run_id = run.info.run_id
    if run.info.status == "RUNNING":
        raise ProjectError(f"run {run_id} is still going on.", "Wait for it; if its process is gone: just doctor")
    try:
        found = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path="record", dst_path=str(_made(folder)), tracking_uri=tracking.store_uri()
        )
    except (MlflowException, OSError) as error:
        raise ProjectError(
            f"run {run_id} ({run.info.status}) has no record: {str(error).partition(chr(10))[0][:200]}",
            "Only a run that finished through `just train`, `just run` or `mlflow run` leaves one: just runs",
            CANNOT_BE_TRIED,
        ) from error
    logged = tuple(frozenset(names) for names in (run.data.metrics, run.data.params, run.data.tags))
    return replace(read(run_id, Path(found)), logged=logged)


def read(name: str, folder: Path) -> Record:
    """Read a record from its folder; one of an older schema is completed.

    Raises
    ------
    ProjectError
        With exit code 2, if a part is missing, broken, or of a later schema than this harness knows.
    """
    try:
        content = json.loads((folder / RECORD).read_text("utf-8"))
        settings = conf.parse((folder / "conf.yaml").read_text("utf-8"))
        (folder / "constraints.txt").stat()
        known = content["schema"] <= SCHEMA_VERSION
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
    return Record(name, folder, _completed(content), settings)


def _completed(content: dict[str, Any]) -> dict[str, Any]:
    """Add what schema 1 did not have: it kept no uncommitted work, no modules and no fingerprint."""
    code = {"remote": "", "branch": "", "folder": "", "tree": "", "patch": "", "left_out": [], "modules": {}}
    return {"project": PACKAGE, "model": {"kind": "other"}, **content, "code": {**code, **content["code"]}}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
