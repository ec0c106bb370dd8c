"""Commands for models that were proven."""

from __future__ import annotations

import click

from ..common.files import absolute
from ..common.project import PACKAGE
from .options import RUN_ID, to_write


@click.command()
@click.argument("run_id", metavar=f"{RUN_ID}|best")
@click.argument("sweep", required=False)
@click.option("--force", is_flag=True, help="Also if it was not reproduced; the version is tagged repro.forced.")
def promote(run_id: str, sweep: str | None, force: bool) -> None:
    """Register the model of a run as champion, if the run was reproduced.

    Of the best trial of a sweep: just promote best SWEEP
    """
    from ..serving import promote
    from ..sweeps import description

    if (run_id == "best") != (sweep is not None):
        raise click.UsageError("it is `promote RUN_ID`, or `promote best SWEEP`.")
    run_id = description.best_of(sweep) if sweep else run_id
    version = promote.promote(run_id, force)
    print(f"Version {version} of the model {PACKAGE} is {promote.ALIAS}: just predict {promote.ALIAS} FILE")


@click.command()
@click.argument("model", metavar=f"{RUN_ID}|champion")
@click.argument("file")
@click.option("-o", "--output", help="The CSV file to write; by default FILE's name with `.predictions.csv`, here.")
@click.option("--allow-unsafe", is_flag=True, help="Load a model that can run code of its author: a pickle.")
def predict(model: str, file: str, output: str | None, allow_unsafe: bool) -> None:
    """Predict for every row of FILE (CSV, parquet), or every image of a folder, by a run's model or the champion."""
    from ..serving import predict

    source = absolute(file)
    target = to_write(output or f"{source.stem}.predictions.csv")
    rows = predict.predict(model, source, target, allow_unsafe)
    print(f"{len(rows):,} predictions in {target}")
