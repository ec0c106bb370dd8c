"""A job, in a process of its own: an ordinary tracked run, which also says how it ended."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .. import execute
from ..common import digest
from ..common.command_line import answer, own_places
from ..common.errors import ProjectError
from ..common.project import ROOT
from ..record import fingerprint
from ..record.stored_model import DIGESTS_ALONE
from ..source import imports
from ..store import joining, tracking
from ..training import given
from ..training.active_run import ASKED_FOR
from ..training.steps import Definition
from . import fence
from .jobs import FAILED, FINISHED, LOST, Job, Outcome, outcome_of

#: Tag of a run that was asked for: why it failed by itself, as it would again.
FAILURE = "repro.failure"
#: Whose errors say that a connection is at fault, and not the training.
CONNECTIONS = frozenset(
    {"requests", "urllib3", "sqlalchemy", "sqlite3", "urllib", "psycopg", "psycopg2", "pymysql", "botocore"}
)


def perform(experiment: Definition, job: Job, told: Path) -> None:
    """Do a run that somebody asked for, and write down how it ended.

    Parameters
    ----------
    experiment : callable
        Gives the project's settings class and training, or its steps.
    job : Job
        Which; its run was made by who asks.
    told : Path
        The file for the outcome.
    """
    if begun := _begun(job.run):
        Outcome(LOST, begun).write(told)
        return
    fence.watch(job.run)
    os.environ |= dict.fromkeys(("MLFLOW_RUN_ID", joining.VOUCHED, ASKED_FOR), job.run)
    os.environ[given.STANDING] = json.dumps(dict(job.standing))
    if not job.whole:
        os.environ[DIGESTS_ALONE] = "true"
    try:
        execute.execute(experiment, job.settings, step=job.step)
    except Exception as error:
        outcome = _ended(error)
        if outcome.status == FAILED:
            _say_in_run(job.run, outcome.cause)
        outcome.write(told)
        raise
    modules = {os.path.relpath(file, ROOT): digest.of_bytes(content) for file, content in imports.taken().items()}
    Outcome(FINISHED, "", modules, fingerprint.cpu_features()).write(told)


def _begun(run_id: str) -> str:
    """Say why a run is not for this process any more, "" if it is: another began it, or it was given up."""
    import mlflow

    tracking.require_store()
    run = mlflow.get_run(run_id)
    if run.info.lifecycle_stage != "active" or run.info.status != "RUNNING":
        return "its run was given up"
    return "its run was begun by another process" if "repro.seed" in run.data.tags else ""


def command(experiment: Definition, file: Path) -> int:
    """Do the job that a file describes, print what a person should read of an error, and give the exit code."""
    try:
        perform(experiment, Job.read(file), outcome_of(file))
    except BaseException as error:
        return answer(error)
    return 0


def _ended(error: Exception) -> Outcome:
    """Judge an error: what came through the training's own code comes again, unless a connection is at its root."""
    chain = [*_chain(error)]
    first_line = (str(error) or type(error).__name__).strip().partition("\n")[0][:200]
    cause = first_line if isinstance(error, ProjectError) else f"{type(error).__name__}: {first_line}"
    is_own = any(own_places(one) for one in chain)
    return Outcome(FAILED if is_own and not any(map(_is_of_connection, chain)) else LOST, cause)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_of_connection(error: BaseException) -> bool:
    package = type(error).__module__.partition(".")[0]
    if package == "mlflow":  # which tells of a server that does not work by a text alone
        return re.search(r"API request to .* failed|error code 5\d\d", str(error)) is not None
    return package in CONNECTIONS or isinstance(error, ConnectionError | TimeoutError)


def _say_in_run(run_id: str, cause: str) -> None:
    import mlflow

    mlflow.MlflowClient().set_tag(run_id, FAILURE, cause)
