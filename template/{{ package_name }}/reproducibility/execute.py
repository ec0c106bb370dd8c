"""One tracked run, from the conf file to the record."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from . import alive, autolog, checkpoint, conf, launch, seeds, tracking
from .framework import FRAMEWORK
from .interrupts import Interrupts
from .project import ProjectError
from .run import Experiment, Run


def execute(
    experiment: Experiment,
    config: Path,
    overrides: tuple[str, ...],
    run_name: str | None = None,
    resume: str | None = None,
) -> str:
    """Do one tracked run.

    Parameters
    ----------
    experiment : callable
        Gives the settings class and `train`.
    config : Path
        The conf file.
    overrides : tuple of str
        `key=value` settings for this run only.
    run_name : str, optional
        The run's name in MLflow, which invents one otherwise.
    resume : str, optional
        A run that was interrupted: its conf and its last checkpoint are taken, `config` and `overrides` are not.

    Returns
    -------
    str
        The run's ID.

    Raises
    ------
    ProjectError
        With cause and fix; a run that has begun is marked FAILED by then, or KILLED if it was interrupted.
    """
    start = checkpoint.load(resume) if resume else checkpoint.Checkpoint(conf.load(config, overrides))
    settings = start.settings
    launch.ensure(settings.get("seed"), settings.get("threads"))  # type: ignore[arg-type]
    # Millions of objects are made by the imports and none can be collected: a fifth of the time of a short run.
    gc.disable()
    schema, train = experiment()
    validated = conf.validate(settings, schema)
    tracking.connect()
    import mlflow

    from .record import Recorder

    # MLflow warns that it finds no pip; environments made by uv have none and need none.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)

    interrupts = Interrupts()
    with alive.held() as tag:
        if resume:
            tag["repro.resumes"] = resume
        active = mlflow.start_run(run_id=os.environ.get("MLFLOW_RUN_ID"), run_name=run_name, tags=tag)
        try:
            interrupts.allow()
            resolved = validated.model_dump(mode="json")
            FRAMEWORK.set_deterministic(warn_only=settings.get("nondeterminism") == "warn")
            recorder = Recorder(resolved, seeds.set_all(settings["seed"]))
            recorder.start()
            run = Run(settings["seed"], checkpoint.Checkpoints(replace(start, settings=resolved)))
            gc.freeze()
            gc.enable()
            with autolog.beside():
                result = train(validated, run)
            gc.disable()
            outcome = recorder.finish(run, result)
            interrupts.hold()
        except BaseException as error:
            interrupts.hold()
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            mlflow.end_run(status)
            print(f"run {active.info.run_id} is marked {status}", file=sys.stderr)
            if refused := FRAMEWORK.nondeterministic_operation(error):
                raise ProjectError(
                    f"an operation of this training has no deterministic form: {refused}",
                    "Use another operation; or let it pass with --set nondeterminism=warn, and the run may not repeat.",
                ) from error
            if advice := FRAMEWORK.advice(error):
                raise ProjectError(*advice) from error
            raise
        finally:
            if not launch.is_command():  # a notebook goes on
                interrupts.restore()
                gc.enable()
        mlflow.end_run()
    gc.freeze()  # nor does the end of the process need to look at them all
    _report(active.info.run_id, result.metrics, outcome)
    return str(active.info.run_id)


def _report(run_id: str, metrics: Mapping[str, float], outcome: str) -> None:
    for name, value in metrics.items():
        print(f"{name:<20} {value:.6g}")
    print(f"{'device':<20} {FRAMEWORK.device()}")
    print(f"{'result':<20} {outcome[:19]}")
    print(f"{'run':<20} {run_id}")
