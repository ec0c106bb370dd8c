"""Begin a sweep, or go on with one that was cut short."""

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from .. import conf
from ..common import digest, terminal
from ..common.errors import ProjectError
from ..common.project import MAIN
from ..common.scratch import temporary_folder
from ..engines.jobs import Job
from ..engines.place import Place
from ..environment import check, lockfile
from ..framework import FRAMEWORK
from ..pipeline import order
from ..randomness import launch
from ..record import inputs, lookup, makers
from ..store import joining, tracking
from ..training import steps
from ..training.active_run import begun
from ..training.garbage_collection import Collector
from ..training.steps import Definition
from . import code, definition
from .definition import Sweep
from .description import TAG, Description, require_models
from .dispatcher import Dispatcher
from .ledger import Ledger, rows_of
from .planner import load
from .progress import Progress
from .runner import Runner


def begin(
    experiment: Definition,
    sweep: dict[str, Any],
    overrides: tuple[str, ...] = (),
    step: str = MAIN,
    place: Place | None = None,
) -> str:
    """Do a sweep, and give its run.

    Parameters
    ----------
    experiment : callable
        Gives the project's settings class and training, or its steps.
    sweep : dict
        What confs/sweep.yaml says.
    overrides : tuple of str
        `key=value` settings of the conf that the trials change.
    step : str
        The step of the project; by default the training.
    place : Place, optional
        Where trials are computed; by default on this machine.

    Raises
    ------
    ProjectError
        If the sweep is not as it should be, before anything runs; or if no trial can come to an end.
    """
    base = conf.load(order.conf_of(step), overrides)
    with Collector(launch.is_command()) as collector, closing(place or Place()) as place:
        place.prepare(Job("", step, base))
        schema, _ = steps.load(experiment, step)
        definition.require_fitting(definition.parse(sweep, "the sweep"), base, schema)
        optuna = load().__version__
        tracking.connect()
        standing = {name: run.info.run_id for name in sorted(inputs.steps(base)) if (run := makers.newest(name))}
        lock = digest.of_file(lockfile.RUNTIME_LOCK)
        description = Description(sweep, base, step, standing, optuna, lock)
        return _do(experiment, description, place, collector)


def resume(experiment: Definition, run_id: str, place: Place | None = None, keep: frozenset[int] = frozenset()) -> str:
    """Go on with a sweep, without doing again what is done, and give its run; of one that is done nothing changes.

    Parameters
    ----------
    experiment : callable
        Gives the project's settings class and training, or its steps.
    run_id : str
        What a person calls the sweep's run; "last": the last that did not finish, or, to keep some, that did.
    place : Place, optional
        Where trials are computed; by default on this machine.
    keep : frozenset of int
        Trials of a sweep that is done: they are trained once more, for their models and pictures.
    """
    tracking.connect()
    # Of a process that was killed, a sweep's run says that it goes on.
    run = lookup.get_run(run_id, ("FINISHED",) if keep else ("KILLED", "FAILED", "RUNNING"), TAG)
    description = Description.of(run)
    if keep:
        _require_finished(run, keep)
    elif run.info.status == "FINISHED":
        print(f"the sweep {run.info.run_id} is done: result {run.data.tags['repro.result'][:19]}")
        return str(run.info.run_id)
    here = {"constraints.txt": digest.of_file(lockfile.RUNTIME_LOCK), "Optuna": load().__version__}
    then = {"constraints.txt": description.lock, "Optuna": description.optuna}
    for name in here:
        if here[name] != then[name]:
            raise ProjectError(
                f"{name} is another since the sweep {run.info.run_id} began: {then[name][:19]}, now {here[name][:19]}.",
                "Check out the lock of then (git log constraints.txt), and: just setup\nor begin anew: just sweep",
            )
    code.require_here(run.info.run_id)
    with Collector(launch.is_command()) as collector, closing(place or Place()) as place:
        place.prepare(Job("", description.step, description.base))
        return _do(experiment, description, place, collector, run, keep)


def _require_finished(run: Any, numbers: frozenset[int]) -> None:
    """Refuse trials of which there is nothing to keep."""
    if run.info.status != "FINISHED":
        raise ProjectError(
            f"the sweep {run.info.run_id} is {run.info.status}: it keeps its best trial when it is done.",
            f"just sweep --resume {run.info.run_id}",
        )
    require_models(run)
    found = rows_of(Ledger(run.info.experiment_id, run.info.run_id).runs().values())
    finished = {number for (number, repeat), row in found.items() if repeat == 0 and not row.cause}
    if strange := sorted(numbers - finished):
        raise ProjectError(
            f"the sweep {run.info.run_id} has no trial {strange[0]} that finished.",
            f"Its trials are 0 to {max(found)[0]}: just runs --of {run.info.run_id[:8]}",
        )


def _do(
    experiment: Definition,
    description: Description,
    place: Place,
    collector: Collector,
    run: Any = None,
    keep: frozenset[int] = frozenset(),
) -> str:
    from mlflow.exceptions import MlflowException

    check.hold()
    sweep = description.definition
    schema, _ = steps.load(experiment, description.step)
    width = place.workers or _enough(conf.validate(description.base, schema).model_dump(mode="json"), sweep)
    tags = {TAG: description.digest()}
    with temporary_folder("sweep") as scratch, closing(place.engine(width, scratch)) as engine:
        with terminal.waiting("starting the workers"):
            engine.wait()
        if run is not None:
            _open_again(run)
        with (
            begun(launch.is_command(), "sweep", tags) as (active, interrupts),
            Progress(sweep, active.id) as progress,
        ):
            if run is None:
                _describe(description, scratch)
            ledger = Ledger(active.experiment_id, active.id)
            dispatcher = Dispatcher(active.id, description, engine, ledger, progress)
            try:
                interrupts.allow()
                with collector.at_work():
                    Runner(active.id, description, dispatcher, ledger, progress, keep).run()
            except BaseException:
                interrupts.hold()
                print(f"To go on with it: just sweep --resume {active.id}", file=sys.stderr)
                engine.close()
                with suppress(MlflowException):  # of a store that is away; --resume gives them up, too
                    ledger.settled()  # what no process has begun, or could not end
                raise
    return active.id


def _enough(settings: dict[str, Any], sweep: Sweep) -> int:
    """Say how many trials the cores are enough for at once."""
    each = int(settings["threads"]) * FRAMEWORK.processes(settings)
    return max(1, min((os.cpu_count() or 1) // each, sweep.batch * sweep.repeats))


def _open_again(run: Any) -> None:
    """Let this process join a sweep's run that was cut short."""
    import mlflow

    mlflow.MlflowClient().update_run(run.info.run_id, "RUNNING")
    os.environ |= dict.fromkeys(("MLFLOW_RUN_ID", joining.VOUCHED), run.info.run_id)


def _describe(description: Description, scratch: Path) -> None:
    """Write down in the sweep's run what it is."""
    import mlflow

    file = scratch / "sweep.yaml"
    file.write_bytes(description.text().encode())
    mlflow.log_artifact(str(file), "sweep")
    sweep = description.definition
    about = {"sampler": sweep.sampler, "trials": sweep.count, "batch": sweep.batch}
    about[sweep.repeated] = sweep.repeats
    mlflow.log_params({f"sweep.{name}": value for name, value in about.items()})
    resume = f"`just sweep --resume {mlflow.active_run().info.run_id}`"
    mlflow.set_tags(description.note(f"none. The sweep goes on, or was cut off: {resume}"))
