"""Commands for this machine: its self-test, MLflow's pages, its environments."""

from __future__ import annotations

import click

from ..common.project import ROOT
from .options import verbose_option


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="By default a GPU, if the framework can use one.")
@click.option(
    "--minutes", default=5.0, show_default=True, type=click.FloatRange(0.5, 600), help="How long it may take."
)
def selftest(device: str | None, minutes: float) -> None:
    """Find out whether training repeats on this machine, and which switches matter here.

    The project's own training and a stress workload of its framework are trained several times, each in a fresh
    process of another shell; then without each switch and seed in turn; killed and resumed; on the GPU and the CPU.

    Exits with 0 if training repeats and 1 if it does not. The outcome is kept in .selftest.json and in the store.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..selftest import keep, plan, show

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn(f"of {minutes:g} min")
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task("", total=1.0)
        content = plan.run(
            device or "", minutes, lambda what, gone: progress.update(bar, description=what, completed=gone), own=True
        )
    show.show(content)
    keep.keep(content)
    raise SystemExit(0 if content["repeats"] else 1)


@click.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@verbose_option
def ui(port: int) -> None:
    """Open MLflow's UI over the project's runs. It listens on this machine only."""
    from ..store import saved_view, tracking
    from ..store import ui as pages

    uri = tracking.store_uri()
    if tracking.database() is None:
        print(f"The runs are on {tracking.public(uri)}: open it in a browser.")
        return
    saved_view.offer(tracking.connect())
    pages.serve(uri, port)


@click.command()
def relocate() -> None:
    """After the folder was copied or moved: point the project's own store at its new place."""
    from ..store import relocate

    if (done := relocate.relocate()) is None:
        print("The store lies where it belongs: nothing to do.")
    else:
        backup, changed = done
        print(f"{changed} locations now point to {ROOT}. The database as it was: {backup.name}")


@click.command("clean-envs")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean_envs(yes: bool) -> None:
    """Delete the MLflow environments of this project that no lock needs any more."""
    from ..environment import mlflow_environment

    unneeded = mlflow_environment.unneeded()
    for path in unneeded:
        print(f"{mlflow_environment.size(path) / 1e6:8.0f} MB  {path}")
    if not unneeded:
        print(f"Nothing to delete in {mlflow_environment.folder()}.")
    elif yes or click.confirm("Delete them?"):
        for path in unneeded:
            mlflow_environment.delete(path)
