"""Commands for projects of several steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import RUN_ID, store_option, use_store
from .places import placed

if TYPE_CHECKING:
    from ..engines.place import Place
    from ..training.steps import Definition


@click.command()
@click.argument("step", required=False)
@click.option("--fresh", is_flag=True, help="Do also the steps whose proof still holds.")
@placed
@click.pass_obj
def pipeline(experiment: Definition, /, step: str | None, fresh: bool, place: Place) -> None:
    """Do all steps in the order of their inputs; or one STEP, and those that it needs.

    The confs say what a step needs: `inputs:` with `step:NAME/PATH`. A step is skipped while its proof holds: a run of
    it has finished with the same code (what it imported), conf, inputs, data, lock and launch environment. What else a
    step reads is not seen: make it a dataset, or an input. Each step is a tracked run, under one of the pipeline's.

    At the first failure no other step is begun; the next `just pipeline` goes on from there. On a cluster steps give
    the bits that they give here: each node is given the code, and builds the environment from its lock.
    """
    from ..pipeline import runner
    from ..training import steps

    runner.run([*steps.steps_of(experiment)], step, fresh, place)


@click.command()
@click.argument("run_id", metavar=RUN_ID)
@store_option
@click.option("--no-picture", is_flag=True, help="Log no lineage.png and lineage.html to the run.")
def lineage(run_id: str, tracking_uri: str | None, no_picture: bool) -> None:
    """Show what a run was made from, back to the raw data, with verdicts; and log it to the run.

    To execute all of it again: just reproduce RUN_ID --chain
    """
    from ..pipeline import lineage, show
    from ..record import lookup
    from ..store import tracking

    use_store(tracking_uri)
    tracking.connect()
    link = lineage.trace(lookup.get_run(run_id))
    show.tree(link)
    if not no_picture:
        import mlflow

        client = mlflow.MlflowClient()
        client.log_figure(link.id, show.picture(link), "lineage.png")
        client.log_text(link.id, show.page(link), "lineage.html")
        print(f"drawn in run {link.id}: lineage.png, lineage.html")
