"""Promote a run's model to champion: only what was reproduced."""

from __future__ import annotations

from . import compare, records, tracking
from .project import PACKAGE, ProjectError

ALIAS = "champion"


def promote(run_id: str, force: bool = False) -> str:
    """Register the model of a run under the package's name, with the alias `champion`.

    Parameters
    ----------
    run_id : str
        The run.
    force : bool, default False
        Also if it was not reproduced; the version then carries a tag that says so.

    Returns
    -------
    str
        The version.

    Raises
    ------
    ProjectError
        If the run logged no model, or was not reproduced.
    """
    tracking.connect()
    import mlflow

    tags = records.get_run(run_id).data.tags
    if "repro.reproduces" in tags:
        raise ProjectError(
            f"{run_id} is a reproduction.", f"Promote the original: just promote {tags['repro.reproduces']}"
        )
    if "repro.model" not in tags:
        raise ProjectError(f"run {run_id} logged no model.", "Choose a run that finished: just runs")
    verdict = tags.get("repro.verdict", "never tried")
    proven = verdict in {compare.IDENTICAL, compare.EQUIVALENT}
    if not proven and not force:
        raise ProjectError(
            f"run {run_id} was not reproduced ({verdict}).", f"just reproduce {run_id}      or all the same: --force"
        )
    told = {"repro.run": run_id, "repro.verdict": verdict, **({} if proven else {"repro.forced": "true"})}
    version = mlflow.register_model(tags["repro.model"], PACKAGE, tags=told).version
    mlflow.MlflowClient().set_registered_model_alias(PACKAGE, ALIAS, version)
    return str(version)
