"""One tracked run, from the conf to the record."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import conf
from .common import terminal
from .common.errors import ProjectError
from .common.files import absolute
from .common.interrupts import Interrupts
from .common.parent import follow
from .common.project import MAIN
from .environment import check
from .framework import FRAMEWORK
from .modeling.result import Result
from .randomness import launch
from .record import lookup
from .record.schema import REPLAY
from .store import tracking
from .training import checkpoint, editor, given, multiprocess, terminal_log, untracked
from .training.active_run import ASKED_FOR, begun, joined
from .training.garbage_collection import Collector
from .training.steps import Definition
from .training.trainer import Trainer, explained

#: How an address in the store begins.
OF_A_RUN = "runs:/"


def execute(
    experiment: Definition,
    config: str | Path | Mapping[str, Any],
    overrides: tuple[str, ...] = (),
    run_name: str | None = None,
    resume: str | None = None,
    step: str = MAIN,
) -> str:
    """Do one tracked run.

    From a notebook, a script or a thread of it too: its garbage collector and its signals are given back as they were.

    Parameters
    ----------
    experiment : callable
        Gives the settings class and `train`, or an `Experiment`.
    config : str, Path or Mapping of str to Any
        The conf file, also one of a run (`runs:/RUN_ID/PATH`; `runs:/RUN_ID`: its own), or the settings themselves.
    overrides : tuple of str
        `key=value` settings for this run only.
    run_name : str, optional
        The run's name in MLflow, which invents one otherwise.
    resume : str, optional
        A run that was interrupted: its conf and its last checkpoint are taken, `config` and `overrides` are not.
    step : str
        The step of the project that is done; by default the training.

    Returns
    -------
    str
        The run's ID.

    Raises
    ------
    ProjectError
        With cause and fix; a run that has begun is marked FAILED by then, or KILLED if it was interrupted.
    """
    check.hold()
    if resume:
        start = checkpoint.load(resume)
        _require_step(start, step, resume)
    else:
        start = checkpoint.Checkpoint(_settings(config, overrides), step=step)
    settings = start.settings
    launch.ensure(settings.get("seed"), settings.get("threads"))  # type: ignore[arg-type]
    if last := launch.is_command():
        follow()
    with Collector(last) as collector:
        with terminal.waiting("importing the training"):
            trainer = Trainer(experiment, start)
        processes = FRAMEWORK.processes(trainer.resolved)
        if processes > 1 and not last:
            raise ProjectError(
                f"`processes` is {processes}, and a notebook or a script is one.",
                f"just train --set processes={processes}",
            )
        tracking.connect()
        with (
            given.at_hand(settings) as inputs,
            begun(last, run_name, start.tag) as (active, interrupts),
            terminal_log.kept(active, interrupts, last),
            explained(),
        ):
            interrupts.allow()
            if processes > 1:
                multiprocess.train(processes, start, active.id)
            else:
                result, outcome = trainer.track(active, collector, inputs)
    if processes == 1:  # else the first of them has told
        _report(active.id, result, outcome)
    if last and not {REPLAY, ASKED_FOR} & os.environ.keys():
        editor.describe(step, trainer.schema, is_step=True)
    return active.id


def take_part(experiment: Definition, folder: Path, run_id: str) -> None:
    """Be one of the processes of a training: the first tracks it, the others do the same and keep nothing.

    Parameters
    ----------
    experiment : callable
        Gives the settings class and `train`, or an `Experiment`.
    folder : Path
        That of the training; see `multiprocess.train`.
    run_id : str
        The run, which the process that started this one has begun and will end.
    """
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with (
        Interrupts(last=True) as interrupts,
        multiprocess.telling(interrupts, folder, rank),
        Collector(last=True) as collector,
    ):
        start = checkpoint.read(folder / multiprocess.START)
        trainer = Trainer(experiment, start, rank, processes, FRAMEWORK.group(rank, processes, folder))
        tracked = joined(run_id) if rank == 0 else untracked.run(folder / f"store-{rank}")
        with given.at_hand(start.settings) as inputs, tracked as active, explained():
            interrupts.allow()
            if active:
                _report(active.id, *trainer.track(active, collector, inputs))
            else:
                trainer.follow(collector, inputs)


def _require_step(start: checkpoint.Checkpoint, step: str, run_id: str) -> None:
    if start.step != step:
        command = "just train" if start.step == MAIN else f"just step {start.step}"
        raise ProjectError(f"run {run_id} is one of the step {start.step!r}.", f"{command} --resume {run_id}")


def _settings(config: str | Path | Mapping[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(config, Mapping):
        return conf.override(copy.deepcopy(dict(config)), overrides)
    if str(config).startswith(OF_A_RUN):
        return conf.override(_of_a_run(str(config)), overrides)
    return conf.load(absolute(str(config)), overrides)


def _of_a_run(address: str) -> dict[str, Any]:
    """Fetch a conf from the store: a file of a run; or by its ID alone, the conf that the run had."""
    import mlflow
    from mlflow.exceptions import MlflowException

    tracking.connect()
    run_id, _, path = address.removeprefix(OF_A_RUN).partition("/")
    uri = f"{OF_A_RUN}{lookup.get_run(run_id).info.run_id}/{path or 'record/conf.yaml'}"
    try:
        return conf.read(mlflow.artifacts.load_text(uri).encode(), uri)
    except (MlflowException, OSError) as error:
        said = str(error).partition("\n")[0][:200]
        raise ProjectError(
            f"the conf {uri} cannot be had: {said}", "just runs      lists those of this store"
        ) from error


def _report(run_id: str, result: Result, outcome: str) -> None:
    for name, value in result.metrics.items():
        print(f"{name:<20} {value:.6g}")
    print(f"{'device':<20} {FRAMEWORK.device()}")
    print(f"{'result':<20} {outcome[:19]}")
    print(f"{'run':<20} {run_id}")
