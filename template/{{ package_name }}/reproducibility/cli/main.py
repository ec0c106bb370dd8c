"""The command line: `python -m PACKAGE --help`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from ..common.command_line import own_places
from ..common.errors import ProjectError
from ..common.exit_codes import INTERRUPTED, USAGE
from . import data, images, jobs, models, proofs, server, steps, sweeps, training, upkeep

if TYPE_CHECKING:
    from ..training.steps import Definition


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    commands=[
        training.train,
        training.step,
        training.run_project,
        training.rank,
        proofs.verify,
        proofs.reproduce,
        proofs.compare,
        proofs.runs,
        steps.pipeline,
        steps.lineage,
        sweeps.sweep,
        sweeps.seeds,
        sweeps.folds,
        jobs.job,
        jobs.jobs,
        models.promote,
        models.predict,
        data.data,
        server.server,
        images.image,
        images.image_verify,
        upkeep.selftest,
        upkeep.ui,
        upkeep.relocate,
        upkeep.clean_envs,
    ],
)
def cli() -> None:
    """Train, predict, and look after the data. Every command has a recipe: `just --list`."""


def run_command(experiment: Definition) -> int:
    """Parse the command line and do what it says.

    Parameters
    ----------
    experiment : callable
        Gives the project's settings class and training, or its steps.

    Returns
    -------
    int
        The exit code: 0, or 130 for an interrupted question. Errors are raised, wrong usage too.
    """
    try:
        # Not `cli.main`, which takes an EOFError of the training for an interrupt, and ends a broken pipe with 1.
        with cli.make_context("just", sys.argv[1:], obj=experiment) as context:
            return cli.invoke(context) or 0
    except Exception as error:
        if own_places(error):
            raise
        return _refused(error)


def _refused(error: Exception) -> int:
    """Turn what click and MLflow raise, and no code of the project's own, into an exit code or a `ProjectError`."""
    if isinstance(error, click.exceptions.Exit):  # --help
        return error.exit_code
    if isinstance(error, click.Abort):
        return INTERRUPTED
    if isinstance(error, click.UsageError):
        command = re.sub("(data|server) ", r"\1-", error.ctx.command_path) if error.ctx else "just"
        fix = f"{command} --help" if command != "just" else "just --list"
        raise ProjectError(error.format_message(), fix, exit_code=USAGE) from error
    if type(error).__module__ == "mlflow.exceptions":
        from ..store import tracking

        raise tracking.explain(error) from error
    raise error
