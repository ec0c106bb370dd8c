"""Who does the steps of a pipeline: processes of this machine, or the nodes of a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..common import parent
from ..common.exit_codes import FAILED as EXIT_FAILED
from ..common.exit_codes import INTERRUPTED
from ..common.project import MAIN, PACKAGE, ROOT
from ..engines import fence
from ..engines.engine import Engine
from ..engines.jobs import FAILED, FINISHED, TRIES, Job
from ..randomness import launch
from ..training import given
from ..training.active_run import PIPELINE
from . import order

#: Tells a person something of a step.
Say = Callable[[str, str], None]


class Executor(Protocol):
    """Does steps, several of them at once in threads."""

    #: How many it can do at once.
    width: int

    def execute(self, step: str, pipeline: str, standing: Mapping[str, str]) -> tuple[int, str]:
        """Do a step, and give its exit code and its run.

        Parameters
        ----------
        step : str
            Its name.
        pipeline : str
            The run that it stands under.
        standing : Mapping of str to str
            The runs that stand for the steps which it needs.
        """

    def stop(self) -> None:
        """Begin no other step, and end those that go on."""


class Here:
    """Does each step in a process of this machine.

    Parameters
    ----------
    width : int
        How many at once.
    scratch : Path
        For what they tell.
    say : callable, optional
        Takes their lines; by default each has the terminal for itself.
    """

    def __init__(self, width: int, scratch: Path, say: Say | None) -> None:
        self.width = width
        self._scratch = scratch
        self._say = say
        self._processes: list[subprocess.Popen[str]] = []
        self._stopping = False

    def execute(self, step: str, pipeline: str, standing: Mapping[str, str]) -> tuple[int, str]:
        """Do a step; see `Executor`."""
        if self._stopping:
            return INTERRUPTED, ""
        told = self._scratch / step
        command = ["train"] if step == MAIN else ["step", step]
        variables = launch.child("MLFLOW_RUN_ID") | parent.told()
        variables |= {PIPELINE: pipeline, given.STANDING: json.dumps(dict(standing))}
        process = subprocess.Popen(
            [sys.executable, "-m", PACKAGE, *command, "--config", str(order.conf_of(step)), "--id-file", str(told)],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._say else None,
            stderr=subprocess.STDOUT if self._say else None,
            text=True,
            errors="replace",
        )
        self._processes.append(process)
        for line in process.stdout or ():
            if self._say:
                self._say(step, line.rstrip("\n"))
        code = process.wait()
        return code, "" if code else told.read_text("utf-8")

    def stop(self) -> None:
        """Begin no other step, and end those that go on."""
        self._stopping = True
        for process in self._processes:
            process.terminate()


class Remote:
    """Has each step done by an engine, again if it is lost.

    Parameters
    ----------
    engine : Engine
        Where.
    settings : dict of str to dict
        The confs of the steps.
    say : callable
        Takes what a person should know.
    """

    def __init__(self, engine: Engine, settings: Mapping[str, dict[str, Any]], say: Say) -> None:
        self.width = engine.width
        self._engine = engine
        self._settings = settings
        self._say = say
        self._stopping = False
        self._lock = threading.Lock()

    def execute(self, step: str, pipeline: str, standing: Mapping[str, str]) -> tuple[int, str]:
        """Do a step; see `Executor`."""
        for _ in range(TRIES):
            if self._stopping:
                return INTERRUPTED, ""
            run_id = self._begin(step, pipeline)
            outcome = self._engine.submit(Job(run_id, step, self._settings[step], dict(standing))).result()
            if outcome.status == FINISHED:
                return 0, run_id
            if outcome.status == FAILED:
                self._say(step, f"failed: {outcome.cause}      What it printed is in its run: log.txt of {run_id}")
                return EXIT_FAILED, ""
            fence.give_up(run_id)
            self._say(step, f"was lost: {outcome.cause}")
        return EXIT_FAILED, ""

    def stop(self) -> None:
        """Begin no other step, and end those that go on."""
        self._stopping = True
        self._engine.close()

    def _begin(self, step: str, pipeline: str) -> str:
        """Make the run of a step; one after the other, as several threads at once could collide."""
        import mlflow

        client = mlflow.MlflowClient()
        with self._lock:
            experiment = client.get_run(pipeline).info.experiment_id
            tags = {"mlflow.parentRunId": pipeline, "repro.pipeline": pipeline}
            return str(client.create_run(experiment, tags=tags, run_name=step).info.run_id)


def side_by_side(settings: Mapping[str, dict[str, Any]]) -> int:
    """Say how many steps the cores are enough for."""
    threads: int = max(own["threads"] for own in settings.values())
    return max(1, (os.cpu_count() or 1) // threads)
