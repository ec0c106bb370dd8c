"""Options that say where something is computed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..common.files import absolute

if TYPE_CHECKING:
    from ..engines.place import Place

on_options = (
    click.option("--on", type=click.Choice(["local", "dask", "slurm"]), default="local", show_default=True),
    click.option("--scheduler", metavar="tls://HOST:PORT", help="Of Dask: where its scheduler is."),
    click.option("--insecure", is_flag=True, help="The network to the scheduler is yours alone, and needs no TLS."),
    click.option("--cluster", default="confs/cluster.yaml", show_default=True, help="What Slurm is asked for."),
    click.option(
        "--workers", type=click.IntRange(1), help="How many at once; by default as many as the cores are enough for."
    ),
)


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where it is computed, as one argument."""

    @functools.wraps(command)
    def with_place(
        *arguments: Any, on: str, scheduler: str | None, insecure: bool, cluster: str, workers: int | None, **more: Any
    ) -> None:
        command(*arguments, place=_place(on, scheduler, insecure, cluster, workers), **more)

    for option in reversed(on_options):
        with_place = option(with_place)
    return with_place


def _place(on: str, scheduler: str | None, insecure: bool, conf: str, workers: int | None) -> Place:
    from ..engines import cluster
    from ..engines.place import Place

    if (on == "dask") != (scheduler is not None):
        raise click.UsageError("--on dask and --scheduler tls://HOST:PORT go together.")
    if on == "local":
        return Place(workers)
    if scheduler:
        cluster.require_safe(scheduler, insecure)
    asked = None if scheduler else cluster.slurm(absolute(conf))
    cluster.require_shared_store()
    return Place(workers, scheduler, asked, cluster.python())
