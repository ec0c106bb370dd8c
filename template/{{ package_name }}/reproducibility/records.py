"""Records of earlier runs: found in whichever store, read, and compared with the runs that they belong to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from . import conf, digest, tracking
from .project import PACKAGE, ProjectError
from .record import SCHEMA_VERSION, digest_of_result

if TYPE_CHECKING:
    import pandas as pd

#: Exit code where a run cannot be executed again, since a part of it is missing.
CANNOT_BE_TRIED = 2


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
    """

    name: str
    folder: Path
    content: dict[str, Any]
    conf: dict[str, Any]

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


def get_run(run_id: str) -> Any:
    """Look a run up in the tracking store, which is connected by then.

    Raises
    ------
    ProjectError
        If there is no such run.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.get_run(run_id)
    except MlflowException as error:
        store = tracking.public(tracking.store_uri())
        raise ProjectError(
            f"there is no run {run_id!r} in {store}.",
            "just runs      lists them; a run of another store: --tracking-uri URI",
        ) from error


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
    return read(run_id, Path(found))


def read(name: str, folder: Path) -> Record:
    """Read a record from its folder; one of an older schema is completed.

    Raises
    ------
    ProjectError
        With exit code 2, if a part is missing, broken, or of a later schema than this harness knows.
    """
    try:
        content = json.loads((folder / "record.json").read_text("utf-8"))
        settings = yaml.safe_load((folder / "conf.yaml").read_text("utf-8"))
        (folder / "constraints.txt").stat()
        known = content["schema"] <= SCHEMA_VERSION
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
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


def contradictions(record: Record, run: Any) -> list[str]:
    """Compare a record with itself and with the run that it belongs to: neither may have been changed since.

    Parameters
    ----------
    record : Record
        The record.
    run : mlflow.entities.Run
        Its run.

    Returns
    -------
    list of str
        One phrase a contradiction.
    """
    content, tags, params = record.content, run.data.tags, run.data.params
    pairs = {
        "the lock": (digest.of_bytes(record.lock), content["environment"]["lock"]),
        "the uncommitted work": (digest.of_bytes(record.patch) if record.patch else "", content["code"]["patch"]),
        "the digest of the metrics": (digest.of_value(record.metrics), content["stages"]["metrics"]),
        "the digest of the result": (digest_of_result(record.stages), content["result"]),
        "the tag repro.result": (tags.get("repro.result"), content["result"]),
        "the tag repro.commit": (tags.get("repro.commit"), content["code"]["commit"]),
        "the tag repro.environment": (tags.get("repro.environment"), content["environment"]["lock"]),
        "the tag repro.data": (
            json.loads(tags.get("repro.data", "{}")),
            {name: entry["digest"] for name, entry in content["data"].items()},
        ),
        **{f"the metric {name}": (run.data.metrics.get(name), value) for name, value in record.metrics.items()},
        **{
            f"the parameter {name}": (params.get(name), str(value)[:6000])
            for name, value in conf.flatten(record.conf).items()
        },
    }
    return [f"{what} is {found!r}, recorded {other!r}" for what, (found, other) in pairs.items() if found != other]


def _completed(content: dict[str, Any]) -> dict[str, Any]:
    """Add what schema 1 did not have: it kept no uncommitted work, no modules and no fingerprint."""
    code = {"remote": "", "branch": "", "folder": "", "tree": "", "patch": "", "left_out": [], "modules": {}}
    return {"project": PACKAGE, "model": {"kind": "other"}, **content, "code": {**code, **content["code"]}}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
