"""`just pipeline`: the steps in their order, each a tracked run, as far as their proof does not hold any more."""

from __future__ import annotations

import graphlib
import json
import os
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..common import parent
from ..common.errors import ProjectError
from ..common.exit_codes import INTERRUPTED
from ..common.project import MAIN, PACKAGE, ROOT
from ..common.scratch import temporary_folder
from ..randomness import launch
from ..store import tracking
from ..training import given
from ..training.active_run import PIPELINE, begun
from . import order, standing

#: Seconds after which a signal is seen at the latest.
PAUSE = 0.5


def run(steps: list[str], target: str | None = None, fresh: bool = False) -> dict[str, str]:
    """Do the steps of a project, each once those are done that it needs; independent ones side by side.

    Parameters
    ----------
    steps : list of str
        The project's.
    target : str, optional
        Only this step and what it needs.
    fresh : bool, default False
        Do also those whose proof still holds.

    Returns
    -------
    dict of str to str
        The run that stands for each step.

    Raises
    ------
    ProjectError
        If a step fails: no other is begun then, and those that go on are waited for.
    """
    settings = order.load(steps, target)
    tracking.connect()
    with ExitStack() as stack:
        return _Pipeline(settings, fresh, stack).run()


class _Pipeline:
    """One execution of the steps."""

    def __init__(self, settings: dict[str, dict[str, Any]], fresh: bool, stack: ExitStack) -> None:
        self.settings = settings
        self.fresh = fresh
        self.stack = stack
        self.parent = ""
        self.stands: dict[str, str] = {}
        self.failed: dict[str, int] = {}
        self.processes: list[subprocess.Popen[str]] = []
        self.width = max(map(len, settings))
        self.alone = order.is_line(settings)  # then each has the terminal for itself
        self.sorter = graphlib.TopologicalSorter(order.graph(settings))
        self.stopping = False

    def run(self) -> dict[str, str]:
        """Do it, and give the runs that stand for the steps."""
        self.sorter.prepare()
        scratch = self.stack.enter_context(temporary_folder("pipeline"))
        pool = self.stack.enter_context(ThreadPoolExecutor(self._side_by_side()))
        going: dict[Future[int], str] = {}
        try:
            while self.sorter.is_active() and not (self.failed and not going):
                for step in self.sorter.get_ready() if not self.failed else ():
                    if not self._holds(step):
                        going[pool.submit(self._execute, step, scratch / step)] = step
                # Not for ever: a signal that another thread is given wakes nobody.
                finished, _ = wait(going, PAUSE, FIRST_COMPLETED)
                for future in finished:
                    self._settle(going.pop(future), future.result(), scratch)
        except BaseException:
            self.stop()
            raise
        if self.parent:
            import mlflow

            mlflow.set_tag("repro.standing", json.dumps(self.stands))
        if INTERRUPTED in self.failed.values():
            raise KeyboardInterrupt
        if self.failed:
            step, code = next(iter(self.failed.items()))
            raise ProjectError(
                f"the step {step!r} failed; its own message stands above.",
                "Mend that, then `just pipeline` goes on from there.",
                code,
            )
        return self.stands

    def _side_by_side(self) -> int:
        """Say how many steps the cores are enough for."""
        threads: int = max(settings["threads"] for settings in self.settings.values())
        return max(1, (os.cpu_count() or 1) // threads)

    def stop(self) -> None:
        """Begin no other step, and end those that go on."""
        self.stopping = True
        for process in self.processes:
            process.terminate()

    def _holds(self, step: str) -> bool:
        """Tell whether a step need not be done, and say why it must."""
        found, why = (None, "asked for") if self.fresh else standing.find(step, self.settings[step], self.stands)
        if found is None:
            self._say(step, f"begins: {why}")
            self._begin()
            return False
        self.stands[step] = found.info.run_id
        self._say(step, f"holds: run {found.info.run_id}")
        self.sorter.done(step)
        return True

    def _begin(self) -> None:
        """Begin the run under which those of the steps stand, once there is a step to do."""
        if not self.parent:
            tags = {"repro.standing": json.dumps(self.stands)}
            active, interrupts = self.stack.enter_context(begun(launch.is_command(), "pipeline", tags))
            self.parent = active.id
            interrupts.allow()

    def _execute(self, step: str, told: Path) -> int:
        """Do a step in a process of its own, and give its exit code."""
        if self.stopping:
            return INTERRUPTED
        command = ["train"] if step == MAIN else ["step", step]
        variables = launch.child("MLFLOW_RUN_ID") | parent.told()
        variables |= {PIPELINE: self.parent, given.STANDING: json.dumps(self.stands)}
        process = subprocess.Popen(
            [sys.executable, "-m", PACKAGE, *command, "--config", str(order.conf_of(step)), "--id-file", str(told)],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=None if self.alone else subprocess.PIPE,
            stderr=None if self.alone else subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.processes.append(process)
        for line in process.stdout or ():
            self._say(step, line.rstrip("\n"))
        return process.wait()

    def _settle(self, step: str, code: int, scratch: Path) -> None:
        if code:
            self.failed[step] = code
        else:
            self.stands[step] = (scratch / step).read_text("utf-8")
            self._say(step, f"is done: run {self.stands[step]}")
            self.sorter.done(step)

    def _say(self, step: str, what: str) -> None:
        print(f"{step:<{self.width}}  {what}", flush=True)
