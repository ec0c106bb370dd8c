"""Commands that do many trials of one training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..common.files import absolute
from ..common.project import MAIN
from .options import RUN_ID, set_option, text_option
from .places import placed

if TYPE_CHECKING:
    from ..engines.place import Place
    from ..training.steps import Definition

step_option = click.option("--step", default=MAIN, show_default=True, help="Of a project of several steps.")


@click.command()
@click.option("--config", default="confs/sweep.yaml", show_default=True, help="What is searched, and how.")
@set_option
@text_option
@step_option
@placed
@click.option(
    "--resume",
    metavar=RUN_ID,
    help="Go on with a sweep that was cut short, with its own conf; `last` is the last such.",
)
@click.option("--keep", type=click.IntRange(0), multiple=True, metavar="TRIAL", help="With --resume: its model, too.")
@click.pass_obj
def sweep(
    experiment: Definition,
    /,
    config: str,
    overrides: tuple[str, ...],
    text: str,
    step: str,
    place: Place,
    resume: str | None,
    keep: tuple[int, ...],
) -> None:
    """Try settings of the conf, and find the best: each trial is a tracked run that reproduces from its ID.

    Trials are planned in batches, each from the results of all batches before it, by number: the result of a sweep
    depends on its conf, and never on how many workers computed it, or in which order they came to an end. Optuna's
    samplers choose the values; `--set` changes the conf that the trials start from.

    On a cluster each node is given the code and builds the environment from its lock, once. `--on dask` takes any
    cluster of Dask's; `--on slurm` lets Slurm start --workers of them, as confs/cluster.yaml says. The tracking store
    must be one that the nodes reach: a server.

    Ctrl-C ends it, and --resume goes on without doing a finished trial again. The best trial's conf is in the sweep's
    run: sweep/best.yaml. It is trained once more at the end, to store its model and pictures, which also proves it;
    `keep: all` stores those of every trial, and --resume RUN_ID --keep 7 those of trial 7.

    With `folds: 5` each trial is five runs, computed side by side, and its value is their mean.
    """
    from ..sweeps import definition, start
    from ..training import editor, just_run

    overrides = (*overrides, *just_run.overrides("conf", text))
    if resume and overrides:
        raise click.UsageError("--resume goes on with the conf that the sweep had; leave --set out.")
    if keep and not resume:
        raise click.UsageError("--keep TRIAL goes with --resume RUN_ID.")
    if resume:
        start.resume(experiment, resume, place, frozenset(keep))
    else:
        editor.describe("sweep", definition.Sweep)
        start.begin(experiment, definition.load(absolute(config)), overrides, step, place)


@click.command()
@click.argument("count", metavar="K", type=click.IntRange(2, 1_000))
@set_option
@step_option
@placed
@click.pass_obj
def folds(experiment: Definition, /, count: int, overrides: tuple[str, ...], step: str, place: Place) -> None:
    """Train K times, each time with another part held out, and say how the metrics vary: cross-validation.

    Each fold is a tracked run that reproduces from its ID, and has the bits that it has in `just train --set folds=K`,
    which does them one after the other, and then trains a model on all rows. To go on with one that was cut short:
    just sweep --resume RUN_ID
    """
    from ..sweeps import start

    start.begin(experiment, {"space": {}, "trials": 1, "folds": count}, overrides, step, place)


@click.command()
@click.argument("count", metavar="N", type=click.IntRange(2, 10_000))
@set_option
@step_option
@placed
@click.pass_obj
def seeds(experiment: Definition, /, count: int, overrides: tuple[str, ...], step: str, place: Place) -> None:
    """Train with N seeds, the conf's own and those after it, and say what of each metric is chance.

    Two models whose intervals overlap widely are not told apart by their metric: more seeds narrow the interval. Each
    run is a tracked run that reproduces from its ID. To go on with one that was cut short: just sweep --resume RUN_ID
    """
    from ..sweeps import start

    start.begin(experiment, {"space": {}, "trials": 1, "seeds": count}, overrides, step, place)
