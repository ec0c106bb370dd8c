"""Commands that other commands start, and nobody types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..training.steps import Definition


@click.command(hidden=True)
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def job(experiment: Definition, file: Path) -> None:
    """Do one run: who needs it starts this."""
    from ..engines import perform
    from ..engines.jobs import Job, outcome_of

    perform.perform(experiment, Job.read(file), outcome_of(file))


@click.command(hidden=True)
@click.argument("step")
@click.pass_obj
def jobs(experiment: Definition, step: str) -> None:
    """Import everything, and be forked for each job: who has many starts this."""
    from ..engines import fork_server

    fork_server.serve(experiment, step)
