"""`just pipeline`: the steps in their order, each a tracked run, as far as their proof does not hold any more."""

from __future__ import annotations

import graphlib
import json
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from ..common.errors import ProjectError
from ..common.exit_codes import INTERRUPTED
from ..common.scratch import temporary_folder
from ..engines.place import Place
from ..randomness import launch
from ..record import description
from ..store import tracking
from ..training.active_run import begun
from . import order, standing
from .executors import Executor, Here, Remote, side_by_side

#: Seconds after which a signal is seen at the latest.
PAUSE = 0.5


def run(steps: list[str], target: str | None = None, fresh: bool = False, place: Place | None = None) -> dict[str, str]:
    """Do the steps of a project, each once those are done that it needs; independent ones side by side.

    Parameters
    ----------
    steps : list of str
        The project's.
    target : str, optional
        Only this step and what it needs.
    fresh : bool, default False
        Do also those whose proof still holds.
    place : Place, optional
        Where; by default on this machine.

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
        return _Pipeline(settings, fresh, place or Place(), stack).run()


class _Pipeline:
    """One execution of the steps."""

    def __init__(self, settings: dict[str, dict[str, Any]], fresh: bool, place: Place, stack: ExitStack) -> None:
        self.settings = settings
        self.fresh = fresh
        self.place = place
        self.stack = stack
        self.parent = ""
        self.stands: dict[str, str] = {}
        self.failed: dict[str, int] = {}
        self.width = max(map(len, settings))
        self.sorter = graphlib.TopologicalSorter(order.graph(settings))

    def run(self) -> dict[str, str]:
        """Do it, and give the runs that stand for the steps."""
        self.sorter.prepare()
        executor = self._executor(self.stack.enter_context(temporary_folder("pipeline")))
        pool = self.stack.enter_context(ThreadPoolExecutor(executor.width))
        going: dict[Future[tuple[int, str]], str] = {}
        try:
            while self.sorter.is_active() and not (self.failed and not going):
                for step in self.sorter.get_ready() if not self.failed else ():
                    if not self._holds(step):
                        going[pool.submit(executor.execute, step, self.parent, dict(self.stands))] = step
                # Not for ever: a signal that another thread is given wakes nobody.
                finished, _ = wait(going, PAUSE, FIRST_COMPLETED)
                for future in finished:
                    self._settle(going.pop(future), *future.result())
        except BaseException:
            executor.stop()
            raise
        if self.parent:
            import mlflow

            mlflow.set_tags({"repro.standing": json.dumps(self.stands)} | self._described())
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

    def _executor(self, scratch: Path) -> Executor:
        """Choose who does the steps."""
        if self.place.python is None:
            alone = order.is_line(self.settings)  # then each has the terminal for itself
            width = self.place.workers or side_by_side(self.settings)
            return Here(width, scratch, None if alone else self._say)
        engine = self.stack.enter_context(closing(self.place.engine(self.place.workers or len(self.settings), scratch)))
        engine.wait()
        return Remote(engine, self.settings, self._say)

    def _described(self) -> dict[str, str]:
        """Say in MLflow's UI which runs stand for the steps, and how all of them are reproduced."""
        import mlflow

        experiment = mlflow.active_run().info.experiment_id
        steps = [f"{step} {description.link(run[:8], experiment, run)}" for step, run in self.stands.items()]
        verdict = f"none. These failed: {', '.join(self.failed)}."
        if not self.failed:
            last = self.stands[[*self.settings][-1]]
            verdict = f"each step has its own. All again, from the raw data: `just reproduce {last} --chain`"
        return description.of_group(verdict, Steps=", ".join(steps) or "none")

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

    def _settle(self, step: str, code: int, run_id: str) -> None:
        if code:
            self.failed[step] = code
        else:
            self.stands[step] = run_id
            self._say(step, f"is done: run {run_id}")
            self.sorter.done(step)

    def _say(self, step: str, what: str) -> None:
        print(f"{step:<{self.width}}  {what}", flush=True)
