"""Whether MLFLOW_RUN_ID names a run that `mlflow run` has just made for this process, or somebody's."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, NamedTuple

from ..common import terminal
from ..common.errors import ProjectError
from ..common.project import PACKAGE, ROOT

#: Set for a process whose run another command of this package has made or joined: that run's ID.
VOUCHED = "REPRO_VOUCHED"
#: What would make MLflow write into something that was made before.
NAMES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID", VOUCHED)


class EntryPoint(NamedTuple):
    """What `mlflow run` can execute: its command line, and the names of its parameters."""

    command: str
    parameters: list[str]


def entry_points() -> dict[str, EntryPoint]:
    """Read the entry points of MLproject.

    Raises
    ------
    ProjectError
        If the file is missing, is not YAML, or is not written as MLflow wants it.
    """
    import yaml

    try:
        found = yaml.safe_load((ROOT / "MLproject").read_text("utf-8"))["entry_points"]
        return {
            name: EntryPoint(str(entry["command"]), list(entry.get("parameters") or ()))
            for name, entry in found.items()
        }
    except (OSError, UnicodeError, yaml.YAMLError, KeyError, AttributeError, TypeError) as error:
        raise ProjectError(f"MLproject cannot be used: {error!r}.", "git diff MLproject") from error


def invited() -> Any | None:
    """Give the run that was made for this process; any other that the shell names is forgotten, with a notice.

    Returns
    -------
    mlflow.entities.Run or None

    Raises
    ------
    mlflow.exceptions.MlflowException
        If the store does not answer.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        decline()
        return None
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        run = mlflow.get_run(run_id)
        why_not = _stale(run)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        why_not = "is not in this store"
    if why_not is None:
        return run
    terminal.notice(f"MLFLOW_RUN_ID={run_id} is not used: that run {why_not}. To be rid of this: unset MLFLOW_RUN_ID")
    decline()
    return None


def decline() -> None:
    """Forget what the shell says of runs: children of this process would take it for theirs."""
    for name in NAMES:
        os.environ.pop(name, None)


def _stale(run: Any) -> str | None:
    """Say why a run cannot have been made for this process, or None if it was."""
    info, tags = run.info, run.data.tags
    if info.lifecycle_stage != "active":
        return "was deleted"
    if info.status != "RUNNING":
        return f"is {info.status}"
    if "repro.seed" in tags or "repro.reproduces" in tags:
        return "is that of another training, which is still going on or died"
    if os.environ.get(VOUCHED) == info.run_id:
        return None
    if tags.get("mlflow.source.type") != "PROJECT" or "repro.alive" in tags:
        return "was not made by `mlflow run` for this process"
    if os.environ.get("MLFLOW_EXPERIMENT_ID") != info.experiment_id:
        return "is of another experiment than MLFLOW_EXPERIMENT_ID"
    entry_point = tags.get("mlflow.project.entryPoint", "")
    command = _command(entry_point)
    if command and sys.argv[1:2] != [command]:
        return f"is one of the entry point {entry_point!r}"
    return None


def _command(entry_point: str) -> str | None:
    """Tell which command of this package an entry point of MLproject runs, if any."""
    try:
        line = entry_points()[entry_point].command
    except (ProjectError, KeyError):
        return None
    found = re.search(rf"-m {re.escape(PACKAGE)} (\w+)", line)
    return found[1] if found else None
