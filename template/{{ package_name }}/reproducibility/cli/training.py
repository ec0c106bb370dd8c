"""Commands that train."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..common.files import absolute, write_whole
from ..common.project import MAIN
from .options import RUN_ID, config_option, seed_option, set_option, text_option, to_write, verbose_option

if TYPE_CHECKING:
    from ..training.steps import Definition


name_option = click.option("--name", "run_name", help="The run's name in MLflow; invented by default.")
resume_option = click.option(
    "--resume",
    metavar=RUN_ID,
    help="Go on from the last checkpoint of a run, with that run's conf; `last` is the last one that did not finish.",
)
id_file_option = click.option("--id-file", metavar="FILE", help="Also write the run's ID into a file, for scripts.")


@click.command()
@config_option
@seed_option
@set_option
@text_option
@name_option
@resume_option
@id_file_option
@verbose_option
@click.pass_obj
def train(experiment: Definition, /, config: str, **options: Any) -> None:
    """Train once and track everything: settings, data, metrics, plots, model, and the record of the run."""
    _execute(experiment, MAIN, config, **options)


@click.command()
@click.argument("step")
@click.option("--config", default="", help="The conf file; by default confs/STEP.yaml.")
@seed_option
@set_option
@text_option
@name_option
@resume_option
@id_file_option
@verbose_option
@click.pass_obj
def step(experiment: Definition, /, step: str, config: str, **options: Any) -> None:
    """Do one step of a project of several, once, and track everything, as `train` does.

    Its inputs are those that its conf names; `step:NAME/…` is what the newest run of that step made that finished.
    To do all steps in their order, and only those whose proof does not hold any more: just pipeline.
    """
    own = f"confs/{step}.yaml"
    if not config and not absolute(own).exists():
        from ..training import steps

        steps.load(experiment, step)  # if there is no such step, that is to be said
    _execute(experiment, step, config or own, **options)


def _execute(
    experiment: Definition,
    step: str,
    config: str,
    seed: str,
    overrides: tuple[str, ...],
    text: str,
    run_name: str | None,
    resume: str | None,
    id_file: str | None,
) -> None:
    from .. import execute
    from ..training import just_run

    overrides = (*overrides, *just_run.overrides(seed, text))
    if resume and overrides:
        raise click.UsageError("--resume goes on with the settings that the run had; leave --set and --seed out.")
    run_id = execute.execute(experiment, config, overrides, run_name, resume, step)
    if id_file:
        write_whole(to_write(id_file), run_id)


@click.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("run_id")
@click.argument("parent", type=int)
@click.pass_obj
def rank(experiment: Definition, folder: Path, run_id: str, parent: int) -> None:
    """Be one of the processes of a training: `train` starts them where the conf has `processes`."""
    from .. import execute
    from ..common import parent as starter
    from ..training import just_run  # noqa: F401 - a record names what was imported: as much as by `train`

    starter.watch(parent)
    execute.take_part(experiment, folder, run_id)


@click.command("run")
@click.option("-e", "--entry-point", default="main", show_default=True, help="An entry point of MLproject.")
@click.option("-P", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the entry point.")
@click.option("--seed", type=int, help="Short for -P seed=N.")
@set_option
@click.option("--container", is_flag=True, help="In the image of this very code, whose environment is that lock's.")
@verbose_option
def run_project(
    entry_point: str,
    parameters: tuple[str, ...],
    seed: int | None,
    overrides: tuple[str, ...],
    container: bool,
) -> None:
    """Execute an entry point through MLflow, in an environment built from the hashed lock.

    The run as anyone else would execute it: nothing of .venv takes part. With --container not even this system does:
    an image of the code as it is, uncommitted work included, is built if it is not here, and the entry point's command
    runs in it as the person who calls. `verify` and `reproduce` have each of their trainings run so.
    """
    from ..training import just_run

    for parameter in parameters:
        if "=" not in parameter:
            raise click.BadParameter(f"{parameter!r} is not NAME=VALUE", param_hint="-P")
    given = dict(parameter.split("=", 1) for parameter in parameters)
    if seed is not None:
        given["seed"] = str(seed)
    if overrides:
        given["set"] = f"{given.get('set', '')} {shlex.join(overrides)}".strip()
    place: just_run.Place = just_run.Environment()
    if container:
        from ..training.in_container import Container

        just_run.require_known(entry_point, given)
        if entry_point in ("verify", "reproduce"):
            raise SystemExit(_prove(entry_point, given))
        place = Container()
    just_run.run(entry_point, given, place)


def _prove(entry_point: str, given: dict[str, str]) -> int:
    """Do what executes trainings itself here, with each of them in a container, and give the verdict's exit code."""
    from ..proof import reproduce, verify
    from ..training import just_run

    if entry_point == "reproduce":
        return reproduce.reproduce(given["run_id"], container=True)
    overrides = just_run.overrides(given.get("seed", "conf"), given.get("set", ""))
    return verify.verify(just_run.config(given), overrides, container=True)
