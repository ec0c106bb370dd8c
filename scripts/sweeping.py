"""What `just bench --only sweeps planner launcher` compares with: samplers and launchers, without trainings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna

import harness

#: Functions on which samplers are compared, from -1 to 1 in each of their settings, with the least value 0.
Function = Callable[[dict[str, float]], float]


def sphere(point: dict[str, float]) -> float:
    """The sum of squares, around 0.3."""
    return sum((value - 0.3) ** 2 for value in point.values())


def branin(point: dict[str, float]) -> float:
    """Branin's function, with three equal minima (Dixon and Szegö, 1978)."""
    x, y = point["a"] * 7.5 + 2.5, point["b"] * 7.5 + 7.5
    valley = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887


def hartmann(point: dict[str, float]) -> float:
    """Hartmann's function of three variables, with four minima (Dixon and Szegö, 1978)."""
    widths = ((3, 10, 30), (0.1, 10, 35), (3, 10, 30), (0.1, 10, 35))
    places = ((3689, 1170, 2673), (4699, 4387, 7470), (1091, 8732, 5547), (381, 5743, 8828))
    values = [(value + 1) / 2 for value in point.values()]
    found = 0.0
    for depth, width, place in zip((1, 1.2, 3, 3.2), widths, places, strict=True):
        parts = zip(width, values, place, strict=True)
        found += depth * math.exp(-sum(a * (value - at / 10_000) ** 2 for a, value, at in parts))
    return 3.86278 - found


FUNCTIONS: dict[Function, str] = {sphere: "abcd", branin: "ab", hartmann: "abc"}


def best_values(function: Function, trials: int, batch: int, seeds: int) -> tuple[list[float], list[float]]:
    """Give the best value for each seed: as a sweep plans it in batches, and as Optuna's TPE does one after another."""
    definition, course = harness.load("sweeps.definition"), harness.load("sweeps.course")
    names = FUNCTIONS[function]
    space = {name: {"type": "float", "low": -1, "high": 1} for name in names}
    about = {"space": space, "trials": trials, "batch": batch, "metric": "value", "direction": "minimize"}
    ours, other = [], []
    for seed in range(seeds):
        way = course.Course(definition.parse(about | {"seed": seed}, ""))
        for points in way.batches():
            way.take({number: function(point) for number, point in points.items()})
        ours.append(way.best[0])
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(lambda trial: function({name: trial.suggest_float(name, -1, 1) for name in names}), trials)
        other.append(study.best_value)
    return ours, other


class Counting:
    """A store that only counts: what is left is the launcher itself."""

    def __init__(self) -> None:
        self.begun = 0
        self.rows: dict[str, Any] = {}
        self._row = harness.load("sweeps.rows").Row

    def begin(self, number: int, repeat: int, point: dict[str, Any]) -> str:
        self.begun += 1
        run = str(self.begun)
        self.rows[run] = self._row(number, repeat, point, run, {"value": float(number)}, "sha256:0")
        return run

    def row(self, run: str) -> Any:
        return self.rows.pop(run)

    def end(self, run: str) -> None:
        """Count nothing: it is a row since it was begun."""


class Stored:
    """A store of MLflow's, in which trials are runs; each is ended by its worker, as its process would end it."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        import mlflow

        mlflow.set_tracking_uri(uri)
        self._client = mlflow.MlflowClient()
        experiment = self._client.create_experiment("launcher", artifacts.as_uri())
        sweep = self._client.create_run(experiment).info.run_id
        ledger = harness.load("sweeps.ledger").Ledger(experiment, sweep)
        self.begin, self.row = ledger.begin, ledger.row

    def end(self, run: str) -> None:
        """Log what a sweep asks for, and no more."""
        self._client.log_metric(run, "value", 1.0)
        self._client.set_tag(run, "repro.result", "sha256:0")
        self._client.set_terminated(run)


class Simulated:
    """Workers to whom a trial is nothing, over threads as a cluster's client has them."""

    def __init__(self, width: int, end: Callable[[str], None]) -> None:
        self.width = width
        self._end = end
        self._pool = ThreadPoolExecutor(8)

    def wait(self) -> None:
        """They are there."""

    def submit(self, job: Any) -> Future[Any]:
        return self._pool.submit(self._do, job.run)

    def _do(self, run: str) -> Any:
        jobs = harness.load("engines.jobs")
        self._end(run)
        return jobs.Outcome(jobs.FINISHED)


def launched(trials: int, workers: int, store: Counting | Stored) -> float:
    """Give the seconds that a launcher takes for so many trials of no time, planned at random in batches of 1,000."""
    description, dispatcher = harness.load("sweeps.description"), harness.load("sweeps.dispatcher")
    course, progress = harness.load("sweeps.course"), harness.load("sweeps.progress")
    space = {"x": {"type": "float", "low": -1, "high": 1}}
    about = {"space": space, "sampler": "random", "trials": trials, "batch": min(trials, 1000), "metric": "value"}
    told = description.Description(about | {"direction": "minimize"}, {"seed": 1, "x": 0.0}, "train", {}, "", "")
    sweep = told.definition
    dispatcher.code.recorded = lambda run_id: {}
    began = time.perf_counter()
    with progress.Progress(sweep, "simulated") as shown:
        hands = dispatcher.Dispatcher("simulated", told, Simulated(workers, store.end), store, shown)
        way = course.Course(sweep)
        for points in way.batches():
            found = {}
            for row in hands.execute({(number, 0): point for number, point in points.items()}, whole=False):
                shown.settle(row, row.metrics["value"])
                found[row.number] = row.metrics["value"]
            way.take(found)
    return time.perf_counter() - began
