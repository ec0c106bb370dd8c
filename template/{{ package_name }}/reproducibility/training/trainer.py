"""What a process does in a training: alone, or as one of several that train together."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .. import conf
from ..common import terminal
from ..common.errors import ProjectError
from ..framework import FRAMEWORK
from ..modeling.result import Result
from ..randomness import seeds
from ..record import inputs
from . import autolog, steps
from .checkpoint import Checkpoint, Checkpoints
from .run_object import Run
from .steps import Definition
from .terminal_log import logging_shown

if TYPE_CHECKING:
    from pathlib import Path

    from ..record.inputs import Input
    from .active_run import ActiveRun
    from .garbage_collection import Collector

    Inputs = Mapping[str, tuple[Input, Path]]


@dataclass
class Trainer:
    """One training, from the settings to its result.

    Parameters
    ----------
    experiment : callable
        Gives the settings class and `train`, or the steps; see `steps.Definition`.
    start : Checkpoint
        What it starts from, and of which step.
    rank, processes : int
        Which process this is, of how many.
    group : context manager
        In which they can talk.

    Raises
    ------
    ProjectError
        If there is no such step, or the settings are not what its class wants.
    """

    experiment: Definition
    start: Checkpoint
    rank: int = 0
    processes: int = 1
    group: AbstractContextManager[None] = field(default_factory=nullcontext)

    def __post_init__(self) -> None:
        """Import the project's code, and hold the settings to its class."""
        self.schema, self._train = steps.load(self.experiment, self.start.step)
        self._settings = conf.validate(self.start.settings, self.schema)
        self.resolved = self._settings.model_dump(mode="json")
        if not conf.declares_inputs(self.schema) and (addresses := inputs.addresses(self.start.settings)):
            self.resolved[conf.INPUTS] = addresses

    def track(self, active: ActiveRun, collector: Collector, given: Inputs) -> tuple[Result, str]:
        """Train, and log all of it to a run.

        Returns
        -------
        tuple of (Result, str)
            With the digest of the result.
        """
        from ..record.recorder import Recorder

        # MLflow warns that it finds no pip; environments made by uv have none and need none.
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
        taken = [one for one, _ in given.values()]
        with terminal.waiting("looking at code and environment"):
            recorder = Recorder(self.start.step, self.start.settings, self.resolved, self._prepare(), taken)
            recorder.start()
        run, result = self._fit(collector, given)
        active.regain()
        with terminal.waiting("keeping the run"):
            return result, recorder.finish(result, run.stages, run.datasets)

    def follow(self, collector: Collector, given: Inputs) -> None:
        """Train along with the process that tracks it, and keep nothing."""
        self._prepare()
        self._fit(collector, given)

    def _prepare(self) -> dict[str, int]:
        """Switch determinism on, and seed every generator; tell which."""
        FRAMEWORK.set_deterministic(warn_only=self.start.settings.get("nondeterminism") == "warn")
        return seeds.set_all(self.start.settings["seed"])

    def _fit(self, collector: Collector, given: Inputs) -> tuple[Run, Result]:
        checkpoints = Checkpoints(replace(self.start, settings=self.resolved))
        places = {name: place for name, (_, place) in given.items()}
        run = Run(self.start.settings["seed"], checkpoints, self.rank, self.processes, places)
        run.stages = {f"input {name}": one.digest for name, (one, _) in given.items()} | run.stages
        with collector.at_work(), autolog.beside(), logging_shown(), _heard(), self.group:
            result = self._train(self._settings, run)
        _require_result(result)
        return run, result


def _require_result(result: object) -> None:
    if not hasattr(result, "metrics"):
        raise ProjectError(
            f"`train` gave back {type(result).__name__}, not a Result.",
            "End it with: return Result(model, inputs, predictions, metrics)",
        )


@contextlib.contextmanager
def explained() -> Iterator[None]:
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
