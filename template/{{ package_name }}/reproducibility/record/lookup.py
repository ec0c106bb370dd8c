"""Find a run by its ID, by the beginning of one, or as the last."""

from __future__ import annotations

import re
from typing import Any

from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..store import search, tracking

#: Names a run without its ID.
LAST = "last"
#: So many digits of a run's ID must be given, as with git.
SHORTEST = 4


def get_run(name: str, last: tuple[str, ...] = ("FINISHED",), tag: str = "repro.seed") -> Any:
    """Look a run up in the tracking store, which is connected by then.

    Parameters
    ----------
    name : str
        Its ID; or the beginning of one, four digits or more, which the project's experiment and then the whole store
        are searched for; or "last".
    last : tuple of str
        The status of the run that "last" means: the newest of the project's experiment that is neither a replay nor
        another run's child; a step of a pipeline counts.
    tag : str
        Which tag that run has: by default that of trainings.

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
            run = _last(last, tag)
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
        sought = f": none that has the tag {tag} is {' or '.join(last)}" if digits == LAST else ""
        raise ProjectError(
            f"there is no run {name!r} in {store}{sought}.",
            "just runs      lists them; a run of another store: --tracking-uri URI",
        )
    if run.info.lifecycle_stage == "deleted":
        raise ProjectError(
            f"run {run.info.run_id} was deleted.", tracking.command_line("runs restore --run-id", run.info.run_id)
        )
    return run


def _last(status: tuple[str, ...], tag: str) -> Any | None:
    """Give the newest run of the project's experiment that has the tag and ended so."""
    import mlflow

    experiment = mlflow.get_experiment_by_name(tracking.experiment_name())
    if experiment is None:
        return None
    for run in search.newest_first([experiment.experiment_id], f"tags.`{tag}` LIKE '%'"):
        tags = run.data.tags.keys()
        child = "mlflow.parentRunId" in tags and "repro.pipeline" not in tags
        if run.info.status in status and not child and "repro.reproduces" not in tags:
            return run
    return None


def _beginning(digits: str) -> Any | None:
    """Give the only run whose ID begins so, of the project's experiment, else of the store."""
    import mlflow

    if len(digits) < SHORTEST:
        raise ProjectError(
            f"{digits!r} is too short for a run.", f"Give {SHORTEST} digits of its ID or more: just runs", USAGE
        )
    client = mlflow.MlflowClient()
    own = mlflow.get_experiment_by_name(tracking.experiment_name())
    for experiments in ([own] if own else [], client.search_experiments()):
        ids = [experiment.experiment_id for experiment in experiments]
        found = client.search_runs(ids, f"attributes.run_id LIKE '{digits}%'", max_results=10) if ids else []
        if len(found) > 1:
            listed = "\n".join(f"{run.info.run_id}  {run.info.status:<8}  {run.info.run_name}" for run in found)
            raise ProjectError(f"several runs begin with {digits}.", f"Choose one of:\n{listed}", USAGE)
        if found:
            return found[0]
    return None
