"""One tracked run, from the conf to the record."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import alive, autolog, checkpoint, conf, environment, launch, seeds, tracking
from .active import begun
from .collector import Collector
from .framework import FRAMEWORK
from .interrupts import Interrupts
from .project import ProjectError, absolute
from .run import Experiment, Run


def execute(
    experiment: Experiment,
    config: str | Path | Mapping[str, Any],
    overrides: tuple[str, ...] = (),
    run_name: str | None = None,
    resume: str | None = None,
) -> str:
    """Do one tracked run.

    From a notebook, a script or a thread of it too: its garbage collector and its signals are given back as they were.

    Parameters
    ----------
    experiment : callable
        Gives the settings class and `train`.
    config : str, Path or Mapping of str to Any
        The conf file, or the settings themselves.
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
    environment.hold()
    start = checkpoint.load(resume) if resume else checkpoint.Checkpoint(_settings(config, overrides))
    settings = start.settings
    launch.ensure(settings.get("seed"), settings.get("threads"))  # type: ignore[arg-type]
    last = launch.is_command()
    with Collector(last) as collector:
        schema, train = experiment()
        validated = conf.validate(settings, schema)
        tracking.connect()
        from .record import Recorder

        # MLflow warns that it finds no pip; environments made by uv have none and need none.
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)

        with (
            Interrupts(last) as interrupts,
            alive.held() as tag,
            begun(interrupts, run_name, tag | start.tag) as active,
            _explained(),
        ):
            interrupts.allow()
            resolved = validated.model_dump(mode="json")
            FRAMEWORK.set_deterministic(warn_only=settings.get("nondeterminism") == "warn")
            recorder = Recorder(resolved, seeds.set_all(settings["seed"]))
            recorder.start()
            run = Run(settings["seed"], checkpoint.Checkpoints(replace(start, settings=resolved)))
            with collector.at_work(), autolog.beside(), _heard():
                result = train(validated, run)
            _require_result(result)
            active.regain()
            outcome = recorder.finish(run, result)
    _report(active.id, result.metrics, outcome)
    return active.id


def _settings(config: str | Path | Mapping[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(config, Mapping):
        return conf.override(copy.deepcopy(dict(config)), overrides)
    return conf.load(absolute(str(config)), overrides)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say what to do about what ends a training, where its own error does not."""
    try:
        yield
    except SystemExit as error:
        raise ProjectError(
            f"the training called sys.exit({error.code!r}), so it gave back no result.",
            "Let `train` return its Result, and raise an error where it cannot.",
        ) from error
    except BaseException as error:
        if refused := FRAMEWORK.nondeterministic_operation(error):
            raise ProjectError(
                f"an operation of this training has no deterministic form: {refused}",
                "Use another operation; or let it pass with --set nondeterminism=warn, and the run may not repeat.",
            ) from error
        if advice := FRAMEWORK.advice(error):
            raise ProjectError(*advice) from error
        raise


def _require_result(result: object) -> None:
    if not hasattr(result, "metrics"):
        raise ProjectError(
            f"`train` gave back {type(result).__name__}, not a Result.",
            "End it with: return Result(model, inputs, predictions, metrics)",
        )


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Have somewhere to print to after a training that closed its outputs."""
    try:
        yield
    finally:
        for name in ("stdout", "stderr"):
            stream, first = getattr(sys, name), getattr(sys, f"__{name}__")
            if stream is None or getattr(stream, "closed", False):
                setattr(sys, name, io.StringIO() if first is None or first.closed else first)


def _report(run_id: str, metrics: Mapping[str, float], outcome: str) -> None:
    for name, value in metrics.items():
        print(f"{name:<20} {value:.6g}")
    print(f"{'device':<20} {FRAMEWORK.device()}")
    print(f"{'result':<20} {outcome[:19]}")
    print(f"{'run':<20} {run_id}")
