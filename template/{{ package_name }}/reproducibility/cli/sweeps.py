"""Commands that do many trials of one training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common.files import absolute
from ..common.project import MAIN
from .options import RUN_ID, set_option, text_option

if TYPE_CHECKING:
    from ..training.steps import Definition

workers_option = click.option(
    "--workers", type=click.IntRange(1), help="How many at once; by default as many as the cores are enough for."
)

step_option = click.option("--step", default=MAIN, show_default=True, help="Of a project of several steps.")


@click.command()
@click.option("--config", default="confs/sweep.yaml", show_default=True, help="What is searched, and how.")
@set_option
@text_option
@step_option
@workers_option
@click.option("--resume", metavar=RUN_ID, help="Go on with a sweep that was cut short, with its own conf.")
@click.pass_obj
def sweep(
    experiment: Definition,
    /,
    config: str,
    overrides: tuple[str, ...],
    text: str,
    step: str,
    workers: int | None,
    resume: str | None,
) -> None:
    """Try settings of the conf, and find the best: each trial is a tracked run that reproduces from its ID.

    Trials are planned in batches, each from the results of all batches before it, by number: the result of a sweep
    depends on its conf, and never on how many workers computed it, or in which order they came to an end. Optuna's
    samplers choose the values; `--set` changes the conf that the trials start from.

    Ctrl-C ends it, and --resume goes on without doing a finished trial again. The best trial's conf is in the sweep's
    run: sweep/best.yaml.
    """
    from ..sweeps import definition, start
    from ..training import just_run

    overrides = (*overrides, *just_run.overrides("conf", text))
    if resume and overrides:
        raise click.UsageError("--resume goes on with the conf that the sweep had; leave --set out.")
    if resume:
        start.resume(experiment, resume, workers)
    else:
        start.begin(experiment, definition.load(absolute(config)), overrides, step, workers)


@click.command()
@click.argument("count", metavar="N", type=click.IntRange(2, 10_000))
@set_option
@step_option
@workers_option
@click.pass_obj
def seeds(experiment: Definition, /, count: int, overrides: tuple[str, ...], step: str, workers: int | None) -> None:
    """Train with N seeds, the conf's own and those after it, and say what of each metric is chance.

    Two models whose intervals overlap widely are not told apart by their metric: more seeds narrow the interval. Each
    run is a tracked run that reproduces from its ID. To go on with one that was cut short: just sweep --resume RUN_ID
    """
    from ..sweeps import start

    start.begin(experiment, {"space": {}, "trials": 1, "seeds": count}, overrides, step, workers)


@click.command(hidden=True)
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def trial(experiment: Definition, file: Path) -> None:
    """Do one run of one trial: a sweep starts it."""
    from ..sweeps import trial
    from ..sweeps.jobs import Job, outcome_of

    trial.perform(experiment, Job.read(file), outcome_of(file))


@click.command(hidden=True)
@click.argument("step")
@click.pass_obj
def trials(experiment: Definition, step: str) -> None:
    """Import everything, and be forked for each trial: a sweep starts it."""
    from ..sweeps import fork_server

    fork_server.serve(experiment, step)
