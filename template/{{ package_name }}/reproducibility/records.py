"""Records of earlier runs: found in whichever store, read, and compared with the runs that they belong to."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import conf, digest, metrics, tracking
from .project import CANNOT_BE_TRIED, NOT_ITS_RUNS, PACKAGE, ProjectError
from .record import RECORD, SCHEMA_VERSION, digest_of_result, files

if TYPE_CHECKING:
    import pandas as pd

#: Names a run without its ID.
LAST = "last"
#: So many digits of a run's ID must be given, as with git.
SHORTEST = 4


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


def get_run(name: str, last: tuple[str, ...] = ("FINISHED",)) -> Any:
    """Look a run up in the tracking store, which is connected by then.

    Parameters
    ----------
    name : str
        Its ID; or the beginning of one, four digits or more, which the project's experiment and then the whole store
        are searched for; or "last".
    last : tuple of str
        The status of the run that "last" means: the newest training of the project's experiment that is neither a
        replay nor another run's child.

    Returns
    -------
    mlflow.entities.Run

    Raises
    ------
    ProjectError
        If there is no such run, it was deleted, or (exit code 64) several begin so.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    digits = name.strip().lower()
    try:
        if digits == LAST:
            run = _last(last)
        elif re.fullmatch("[0-9a-f]{1,31}", digits):
            run = _beginning(digits)
        else:
            run = mlflow.get_run(digits)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise tracking.explain(error) from error
        run = None
    if run is None:
        store = tracking.public(tracking.store_uri())
        raise ProjectError(
            f"there is no run {name!r} in {store}.",
            "just runs      lists them; a run of another store: --tracking-uri URI",
        )
    if run.info.lifecycle_stage == "deleted":
        raise ProjectError(
            f"run {run.info.run_id} was deleted.", f".venv/bin/mlflow runs restore --run-id {run.info.run_id}"
        )
    return run


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
    data = {name: entry["digest"] for name, entry in content["data"].items()}
    pairs = {
        "the lock": (digest.of_bytes(record.lock), content["environment"]["lock"]),
        "the uncommitted work": (digest.of_bytes(record.patch) if record.patch else "", content["code"]["patch"]),
        "the digest of the result": (digest_of_result(record.stages), content["result"]),
        "the tag repro.result": (tags.get("repro.result"), content["result"]),
        "the tag repro.commit": (tags.get("repro.commit"), content["code"]["commit"]),
        "the tag repro.environment": (tags.get("repro.environment"), content["environment"]["lock"]),
        **{
            f"the parameter {name}": (params.get(name), str(value)[:6000])
            for name, value in conf.flatten(record.conf).items()
        },
    }
    by_itself = _has_digests(content)
    if by_itself or not any(map(math.isnan, record.metrics.values())):  # of which the sign was digested, not recorded
        pairs["the digest of the metrics"] = (digest.of_value(record.metrics), content["stages"]["metrics"])
    if "repro.data" in tags or "repro.reproduces" not in tags:  # replays of 0.4 and before have none
        pairs["the tag repro.data"] = (json.loads(tags.get("repro.data", "{}")), data)
    if by_itself:
        found = files(record.folder)
        names = [*content["files"], *found]
        pairs |= {f"the file {name}": (found.get(name, "gone"), content["files"].get(name, "none")) for name in names}
    if by_itself or "repro.record" in tags:
        pairs["the tag repro.record"] = (tags.get("repro.record"), digest.of_file(record.folder / RECORD))
    wrong = [f"{what} is {found!r}, recorded {other!r}" for what, (found, other) in pairs.items() if found != other]
    return [*wrong, *metrics.contradictions(record.metrics, run, overtaken=not by_itself)]


def require_own(record: Record, run: Any) -> None:
    """Refuse a record that is not its run's: nothing that is made of it would prove anything.

    Raises
    ------
    ProjectError
        With exit code 1, that of "different".
    """
    if wrong := contradictions(record, run):
        lines = "\n".join(f"  {phrase}" for phrase in wrong[:8])
        raise ProjectError(
            f"different: the record of run {record.name} is not that run's; one of them was changed.\n{lines}",
            "Restore the run and its artifacts from a backup of the store, or run it anew.",
            NOT_ITS_RUNS,
        )


def _has_digests(content: dict[str, Any]) -> bool:
    """Tell whether a record holds the digests of its own files, as it does from schema 3 on."""
    return bool(content["schema"] >= 3)


def _last(status: tuple[str, ...]) -> Any | None:
    """Give the newest training of the project's experiment that ended so."""
    import mlflow

    experiment = mlflow.get_experiment_by_name(tracking.experiment_name())
    client, token = mlflow.MlflowClient(), None
    while experiment:
        page = client.search_runs(
            [experiment.experiment_id],
            "tags.`repro.seed` LIKE '%'",
            max_results=100,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        for run in page:
            if run.info.status in status and not {"repro.reproduces", "mlflow.parentRunId"} & run.data.tags.keys():
                return run
        token = page.token
        if not token:
            break
    return None


def _beginning(digits: str) -> Any | None:
    """Give the only run whose ID begins so, of the project's experiment, else of the store."""
    import mlflow

    if len(digits) < SHORTEST:
        raise ProjectError(
            f"{digits!r} is too short for a run.", f"Give {SHORTEST} digits of its ID or more: just runs", 64
        )
    client = mlflow.MlflowClient()
    own = mlflow.get_experiment_by_name(tracking.experiment_name())
    for experiments in ([own] if own else [], client.search_experiments()):
        ids = [experiment.experiment_id for experiment in experiments]
        found = client.search_runs(ids, f"attributes.run_id LIKE '{digits}%'", max_results=10) if ids else []
        if len(found) > 1:
            listed = "\n".join(f"{run.info.run_id}  {run.info.status:<8}  {run.info.run_name}" for run in found)
            raise ProjectError(f"several runs begin with {digits}.", f"Choose one of:\n{listed}", 64)
        if found:
            return found[0]
    return None


def _completed(content: dict[str, Any]) -> dict[str, Any]:
    """Add what schema 1 did not have: it kept no uncommitted work, no modules and no fingerprint."""
    code = {"remote": "", "branch": "", "folder": "", "tree": "", "patch": "", "left_out": [], "modules": {}}
    return {"project": PACKAGE, "model": {"kind": "other"}, **content, "code": {**code, **content["code"]}}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
