"""Promote a run's model to champion: only what was reproduced."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from ..common import exit_codes
from ..common.errors import ProjectError
from ..common.exit_codes import NOT_ITS_RUNS
from ..common.project import PACKAGE
from ..common.scratch import temporary_folder
from ..proof.compare import compare
from ..record import lookup, reader
from ..record.schema import Record
from ..record.stored_model import files_of_model, stored
from ..store import tracking

ALIAS = "champion"
#: Verdicts that prove a run.
PROVEN = {exit_codes.IDENTICAL, exit_codes.EQUIVALENT}


def promote(run_id: str, force: bool = False) -> str:
    """Register the model of a run under the package's name, with the alias `champion`.

    Parameters
    ----------
    run_id : str
        The run, or what stands for it: see `lookup.get_run`.
    force : bool, default False
        Also if it was not reproduced; the version then carries a tag that says so.

    Returns
    -------
    str
        The version.

    Raises
    ------
    ProjectError
        If the run logged no model, or was not reproduced; with exit code 1, if its record or its model was changed.
    """
    tracking.connect()
    import mlflow

    run = lookup.get_run(run_id)
    run_id, tags = run.info.run_id, run.data.tags
    if "repro.reproduces" in tags:
        raise ProjectError(
            f"{run_id} is a reproduction.", f"Promote the original: just promote {tags['repro.reproduces']}"
        )
    model = stored(run)
    verdict = tags.get("repro.verdict", "never tried")
    with temporary_folder("promote") as scratch:
        record = reader.download(run, scratch / "original")
        _require_recorded_model(record, model)
        doubt = verdict if verdict not in PROVEN else _doubt(record, scratch / "replay")
    if doubt and not force:
        raise ProjectError(
            f"run {run_id} was not reproduced ({doubt}).", f"just reproduce {run_id}      or all the same: --force"
        )
    told = {"repro.run": run_id, "repro.verdict": verdict, **({"repro.forced": "true"} if doubt else {})}
    with contextlib.redirect_stderr(io.StringIO()):  # where MLflow says the same in its words
        version = mlflow.register_model(model, PACKAGE, tags=told).version
    mlflow.MlflowClient().set_registered_model_alias(PACKAGE, ALIAS, version)
    return str(version)


def _doubt(record: Record, folder: Path) -> str | None:
    """Say why the verdict that a run is tagged with is not believed; None if the replay that it names says the same."""
    name = record.run.data.tags.get("repro.verified_by", "")
    try:
        replay = lookup.get_run(name)
        if replay.info.status != "FINISHED" or replay.data.tags.get("repro.reproduces") != record.name:
            return f"run {name}, which its verdict names, is no finished reproduction of it"
        replayed = reader.download(replay, folder)
    except ProjectError as error:
        return f"what its verdict is based on is not there as it was: {error.cause}"
    verdict = compare(record, replayed).verdict
    return None if verdict in PROVEN else f"its verdict says otherwise, but the replay {name} is {verdict}"


def _require_recorded_model(record: Record, uri: str) -> None:
    """Refuse a model whose files are not those of the run; records of schema 1 and 2 do not say which those are."""
    recorded = record.content["model"].get("files")
    if recorded is not None and (found := files_of_model(uri)) != recorded:
        names = sorted(name for name in {**recorded, **found} if recorded.get(name) != found.get(name))
        raise ProjectError(
            f"the model of run {record.name} is not the one that its record speaks of: {', '.join(names[:8])}.",
            "Restore its artifacts from a backup of the store, or run it anew.",
            NOT_ITS_RUNS,
        )
