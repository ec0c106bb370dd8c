"""The runs that make what others take: the newest of a step, that of a model, and what their records say."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from ..common import digest
from ..common.errors import ProjectError
from ..store import search, tracking
from .schema import RECORD


def newest(step: str) -> Any | None:
    """Give the newest run of a step that finished and is no replay."""
    return next(runs_of(step), None)


def runs_of(step: str) -> Iterator[Any]:
    """Give the runs of a step that finished and are neither replays nor trials of a sweep, the newest first."""
    condition = f"tags.`repro.step` = '{step}' and attributes.status = 'FINISHED'"
    for run in search.newest_first([tracking.connect()], condition):
        if not {"repro.reproduces", "repro.trial"} & run.data.tags.keys():
            yield run


def recorded(run: Any) -> dict[str, Any]:
    """Read record.json of a run; empty where it has none, or one that is not its own."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        text = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/record/{RECORD}")
        content: dict[str, Any] = json.loads(text)
    except (MlflowException, OSError, ValueError):
        return {}
    own = run.data.tags.get("repro.record")
    return content if own == digest.of_bytes(text.encode("utf-8")) else {}


def run_of(run_id: str, may_be_deleted: bool = False) -> Any:
    """Give the run that made an input; who only looks back may see one that was deleted since."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        run = mlflow.get_run(run_id)
    except MlflowException as error:
        raise ProjectError(f"an input is of run {run_id}, which is not in this store.", "just runs") from error
    if run.info.lifecycle_stage == "deleted" and not may_be_deleted:
        raise ProjectError(
            f"an input is of run {run_id}, which was deleted.", tracking.command_line("runs restore --run-id", run_id)
        )
    return run


def of_model(name: str, address: str) -> tuple[Any | None, str, str]:
    """Give the run that made a model, where it is known, the address of it for good, and its registered version."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    client, version = mlflow.MlflowClient(), ""
    try:
        registered = get_model_name_and_version(client, address)
        if len(registered) > 1:
            found = client.get_model_version(*registered)
            version, made_by = str(found.version), found.run_id
            # Some stores name what was registered by its ID, others where that comes from, others neither.
            source = f"models:/{found.model_id}" if found.model_id else found.source
            address = source if source.startswith("models:/m-") else f"models:/{found.name}/{version}"
        else:
            made_by = client.get_logged_model(*registered).source_run_id
    except (MlflowException, OSError) as error:
        first_line = str(error).partition("\n")[0][:300]
        raise ProjectError(
            f"the input {name!r}, {address}: {first_line}", "just promote RUN_ID      makes a champion."
        ) from error
    run = None
    with contextlib.suppress(ProjectError):  # of another store than the registry's
        run = run_of(made_by, may_be_deleted=True) if made_by else None
    return run, address, version
