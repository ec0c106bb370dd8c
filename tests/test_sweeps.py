"""Sweeps: one plan and one result, however many workers computed it, in whatever order, and however often cut short."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

from harness import load

ProjectError = load("common.errors").ProjectError
course, definition, description = (load(f"sweeps.{name}") for name in ("course", "definition", "description"))
code, dispatcher, ledger = (load(f"sweeps.{name}") for name in ("code", "dispatcher", "ledger"))
jobs, perform = load("engines.jobs"), load("engines.perform")
planner, progress, proving = (load(f"sweeps.{name}") for name in ("planner", "progress", "proving"))
rows, runner, spread = (load(f"sweeps.{name}") for name in ("rows", "runner", "spread"))
digest, sqlite, stored_model = load("common.digest"), load("store.sqlite"), load("record.stored_model")

SPACE = {
    "model.x": {"type": "float", "low": -1, "high": 1},
    "model.y": {"type": "int", "low": 1, "high": 100, "log": True},
    "model.kind": {"type": "categorical", "choices": ["a", "b"]},
}
BASE = {"seed": 3, "threads": 1, "model": {"x": 0.0, "y": 5, "kind": "a"}}
SAMPLERS = ("random", "tpe", "cmaes")


def sweep_of(**changes: Any) -> dict[str, Any]:
    return {
        "space": SPACE,
        "trials": 24,
        "batch": 8,
        "metric": "score",
        "direction": "minimize",
        "seed": 1,
    } | changes


# --- What a sweep may be ----------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trial": 3}, "trial: Extra inputs"),
        ({"trials": None}, "`trials` is missing"),
        ({"trials": 0}, "greater than or equal to 1"),
        ({"metric": None}, "`metric` and `direction`"),
        ({"direction": "up"}, "'minimize'"),
        ({"sampler": "bayes"}, "'grid'"),
        ({"sampler": "grid"}, "a grid needs `choices` or a `step`, which model.x has not"),
        ({"space": {"seed": {"type": "int", "low": 1, "high": 9}}}, "`seeds: 5`"),
        ({"space": {"a": {"type": "int", "low": 1.5, "high": 3}}}, "whole numbers"),
        ({"space": {"a": {"type": "int", "low": 3, "high": 1}}}, "`low` is above `high`"),
        ({"space": {"a": {"type": "float", "low": 0, "high": 1, "log": True}}}, "above zero"),
        ({"space": {"a": {"type": "float", "low": True, "high": 1}}}, "a number"),
        ({"space": {"a": {"type": "float", "low": "nan", "high": 1}}}, "finite"),
        ({"space": {"a": {"type": "float", "low": 0}}}, "`low` and `high`"),
        ({"space": {"a": {"type": "categorical"}}}, "`choices`"),
        ({"space": {"a": {"type": "categorical", "choices": []}}}, "at least 1"),
        ({"space": {"a": {"type": "categorical", "choices": [1], "low": 0}}}, "no bounds"),
        ({"stop": {"patience": 0}}, "stop.patience"),
    ],
)
def test_what_is_no_sweep_is_refused_by_name_on_one_screen(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ProjectError, match="is not as a sweep is written") as refusal:
        definition.parse(sweep_of(**changes), "confs/sweep.yaml")
    assert said in refusal.value.cause and refusal.value.exit_code == 3
    assert len((refusal.value.cause + refusal.value.fix).splitlines()) < 30


def test_without_a_conf_an_example_is_shown_that_is_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"there is no .*sweep\.yaml") as refusal:
        definition.load(tmp_path / "sweep.yaml")
    (tmp_path / "sweep.yaml").write_text(refusal.value.fix.partition("\n")[2])
    assert definition.parse(definition.load(tmp_path / "sweep.yaml"), "").count == 40


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: float = Field(ge=-1)
    y: int
    kind: str = "a"
    deep: dict[str, int] = {}


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    seed: int
    threads: int
    model: Model


@pytest.mark.parametrize(
    ("path", "dimension", "said"),
    [
        ("model.z", {"type": "int", "low": 1, "high": 2}, "names model.z, which is no setting"),
        ("mode.x", {"type": "int", "low": 1, "high": 2}, "names mode.x"),
        ("model", {"type": "int", "low": 1, "high": 2}, "names model, "),
        ("model.x.z", {"type": "int", "low": 1, "high": 2}, "names model.x.z"),
        ("model.x", {"type": "float", "low": -2, "high": 2}, "lets model.x be -2.0"),
        ("model.y", {"type": "float", "low": 0.5, "high": 2}, "lets model.y be 0.5"),
        ("model.kind", {"type": "categorical", "choices": ["a", 3]}, "lets model.kind be 3"),
    ],
)
def test_a_space_that_the_settings_do_not_allow_is_refused_before_anything_runs(
    path: str, dimension: dict[str, Any], said: str
) -> None:
    sweep = definition.parse(sweep_of(space={path: dimension}), "")
    with pytest.raises(ProjectError, match="the space ") as refusal:
        definition.require_fitting(sweep, BASE, Settings)
    assert said in refusal.value.cause
    definition.require_fitting(definition.parse(sweep_of(), ""), BASE, Settings)


def test_the_conf_of_a_trial_leaves_that_of_all_trials_alone() -> None:
    before = json.dumps(BASE)
    own = definition.settings(BASE, {"model.x": 0.5, "model.kind": "b"}, {"seed": 9})
    assert own == {"seed": 9, "threads": 1, "model": {"x": 0.5, "y": 5, "kind": "b"}}
    assert json.dumps(BASE) == before


def test_a_grid_is_every_combination_in_order() -> None:
    space = {
        "a": {"type": "float", "low": 0, "high": 0.3, "step": 0.1},
        "b": {"type": "categorical", "choices": ["x", "y"]},
        "c": {"type": "int", "low": 1, "high": 3},
    }
    sweep = definition.parse(sweep_of(space=space, sampler="grid", trials=None, batch=5), "")
    found = [point for points in planned(sweep, lambda point: 0.0) for point in points.values()]
    expected = [*itertools.product([0.0, 0.1, 0.2, 0.1 * 3], ["x", "y"], [1, 2, 3])]
    assert sweep.count == 24 and [tuple(point.values()) for point in found] == expected
    assert definition.parse(sweep_of(space=space, sampler="grid", trials=7), "").count == 7


# --- The plan ---------------------------------------------------------------------
def score(settings: dict[str, Any]) -> float:
    """What a trial is worth: least at x = 0.3, y = 10, kind b."""
    model, seed = settings["model"], settings["seed"]
    return (model["x"] - 0.3) ** 2 + math.log10(model["y"] / 10) ** 2 + (model["kind"] == "a") + seed / 1000


def of_point(point: dict[str, Any]) -> float:
    return score(definition.settings(BASE, point))


def planned(sweep: Any, value: Callable[[dict[str, Any]], float | None]) -> Iterator[dict[int, dict[str, Any]]]:
    """Give the batches of a sweep, whose results are taken in any order."""
    way = course.Course(sweep)
    for points in way.batches():
        yield points
        numbers = random.sample([*points], len(points))
        way.take({number: value(points[number]) for number in numbers})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_plan_follows_from_results_by_number_alone(sampler: str) -> None:
    sweep = definition.parse(sweep_of(sampler=sampler, trials=40), "")
    first, again = ([*planned(sweep, of_point)] for _ in range(2))
    assert first == again and sum(map(len, first)) == 40
    values = [value for points in first for point in points.values() for value in point.values()]
    assert {type(value) for value in values} == {int, float, str}
    another = [*planned(definition.parse(sweep_of(sampler=sampler, trials=40, seed=2), ""), of_point)]
    assert another[0] != first[0]
    # What came of the first batch shows in the second, where the sampler learns.
    changed = [*planned(sweep, lambda point: -of_point(point))]
    assert changed[0] == first[0]
    assert (changed[1:] == first[1:]) is (sampler == "random")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_sampler_that_learns_finds_better_values_than_chance(sampler: str) -> None:
    def best(name: str, seed: int) -> float:
        sweep = definition.parse(sweep_of(sampler=name, trials=64, seed=seed), "")
        return min(of_point(point) for points in planned(sweep, of_point) for point in points.values())

    learned, chance = ([best(name, seed) for seed in range(9)] for name in (sampler, "random"))
    assert np.median(learned) < np.median(chance)


def test_failed_trials_have_their_place_in_the_plan() -> None:
    sweep = definition.parse(sweep_of(), "")
    plans = [[*planned(sweep, lambda point: None if point["model.kind"] == "a" else of_point(point))] for _ in range(2)]
    assert plans[0] == plans[1] != [*planned(sweep, of_point)]


@pytest.mark.parametrize(
    ("stop", "direction", "batches"),
    [
        ({"patience": 2}, "maximize", 3),  # the first is the best: two without a better one, and it is over
        ({"value": 0.5}, "maximize", 1),
        ({"value": 1.0}, "maximize", 1),  # as good is good enough
        ({"value": 1.5}, "maximize", 5),
        ({"value": 1.5}, "minimize", 1),
        ({}, "maximize", 5),
    ],
)
def test_a_sweep_stops_after_a_batch(stop: dict[str, Any], direction: str, batches: int) -> None:
    sweep = definition.parse(sweep_of(trials=40, stop=stop, direction=direction), "")
    assert len([*planned(sweep, lambda point: 1.0)]) == batches


# --- Execution --------------------------------------------------------------------
@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    sqlite.create(folder / "mlflow.db", folder / "mlruns")
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copy(made / "mlflow.db", tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("bikes", (tmp_path / "artifacts").as_uri()))
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()


class Shuffled:
    """An engine whose jobs take any time, and so end in any order; some are lost on the way."""

    def __init__(self, width: int, lost: float = 0.0, act: Callable[[Any], Any] | None = None) -> None:
        self.width = width
        self.act = act or complete
        self.lost = lost
        self.done: list[Any] = []
        self.losses: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(width)
        self._lock = threading.Lock()  # a file of SQLite has one writer at a time

    def wait(self) -> None:
        """Its workers are there."""

    def submit(self, job: Any) -> Future[Any]:
        return self._pool.submit(self._do, job)

    def _do(self, job: Any) -> Any:
        time.sleep(random.random() / 100)
        trial_of_job = json.dumps(job.settings)
        # What is lost as often as a sweep tries ends it; by chance that must not come.
        if random.random() < self.lost and (self.lost == 1 or self.losses[trial_of_job] < jobs.TRIES - 1):
            self.losses[trial_of_job] += 1
            return jobs.Outcome(jobs.LOST, "the plug was pulled")
        with self._lock:
            self.done.append(job)
            return self.act(job)

    def close(self) -> None:
        self._pool.shutdown()


def complete(job: Any) -> Any:
    """Do a job as a training does."""
    client = mlflow.MlflowClient()
    value = score(job.settings)
    client.log_metric(job.run, "score", value)
    client.set_tag(job.run, "repro.result", f"sha256:{value.hex()}")
    if not job.whole:
        client.set_tag(job.run, stored_model.NOT_STORED, stored_model.NOT_KEPT)
    client.set_terminated(job.run, "FINISHED")
    return jobs.Outcome(jobs.FINISHED, modules={"bikes/train.py": "sha256:1"})


def fail(job: Any, cause: str = "ValueError: no") -> Any:
    client = mlflow.MlflowClient()
    client.set_tag(job.run, perform.FAILURE, cause)
    client.set_terminated(job.run, "FAILED")
    return jobs.Outcome(jobs.FAILED, cause)


def begin(sweep: dict[str, Any]) -> tuple[Any, str]:
    """Begin a sweep's run."""
    about = description.Description(sweep, BASE, "train", {}, planner.load().__version__, "sha256:0")
    started = mlflow.start_run(run_name="sweep", tags={description.TAG: about.digest()})
    mlflow.log_text(about.text(), description.FILE)
    return about, started.info.run_id


def go_on(about: Any, run_id: str, engine: Any, keep: frozenset[int] = frozenset()) -> str:
    """Do a sweep, or what is left of it, and give the digest of its result."""
    experiment = mlflow.get_run(run_id).info.experiment_id
    try:
        with progress.Progress(about.definition, run_id) as shown:
            book = ledger.Ledger(experiment, run_id)
            hands = dispatcher.Dispatcher(run_id, about, engine, book, shown)
            runner.Runner(run_id, about, hands, book, shown, keep).run()
    finally:
        engine.close()
    mlflow.end_run()
    return str(mlflow.get_run(run_id).data.tags["repro.result"])


def children(run_id: str) -> list[Any]:
    run = mlflow.get_run(run_id)
    return list(
        mlflow.MlflowClient().search_runs(
            [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'", mlflow.entities.ViewType.ALL, 1000
        )
    )


@pytest.mark.parametrize("sampler", [*SAMPLERS, "grid"])
def test_one_result_whatever_computed_it(store: Path, sampler: str) -> None:
    steps = {"model.x": SPACE["model.x"] | {"step": 0.5}, "model.y": {"type": "int", "low": 1, "high": 3}}
    space = SPACE | (steps if sampler == "grid" else {})
    results = set()
    for width, lost in ((1, 0.0), (2, 0.0), (5, 0.4)):
        about, run_id = begin(sweep_of(sampler=sampler, space=space, trials=14, batch=5))
        results.add(go_on(about, run_id, Shuffled(width, lost)))
        active = [run for run in children(run_id) if run.info.lifecycle_stage == "active"]
        names = Counter(run.data.tags["repro.trial"] for run in active)
        assert names == Counter(map(str, range(about.definition.count))), "none is missing, and none done twice"
        assert {run.info.status for run in active} == {"FINISHED"}
        assert {run.info.status for run in children(run_id)} <= {"FINISHED", "KILLED"}
    assert len(results) == 1


class Late(Shuffled):
    """An engine whose second worker comes while the first is busy, which waits for it."""

    def __init__(self) -> None:
        super().__init__(2)
        self.width = 1
        self._both = threading.Barrier(2, timeout=30)

    def _do(self, job: Any) -> Any:
        self.width = 2
        if not self.done:
            self._both.wait()
        return super()._do(job)


class Away(Shuffled):
    """An engine whose workers are lost, all of them, and come back after a while."""

    def __init__(self) -> None:
        super().__init__(2)
        self._back = False

    def wait(self) -> None:
        if not self.width:
            self.width, self._back = 2, True

    def _do(self, job: Any) -> Any:
        if self._back:
            return super()._do(job)
        self.width = 0
        return jobs.Outcome(jobs.LOST, "its worker is gone")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("engine", [Late, Away])
def test_workers_that_come_while_a_sweep_goes_on_are_given_work(store: Path, engine: Callable[[], Any]) -> None:
    about, run_id = begin(sweep_of(trials=4, batch=2))
    go_on(about, run_id, engine())
    active = [run for run in children(run_id) if run.info.lifecycle_stage == "active"]
    assert [run.info.status for run in active] == ["FINISHED"] * 4


def test_a_sweep_shows_in_the_store_what_came_of_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about, run_id = begin(sweep_of(seeds=3))
    go_on(about, run_id, Shuffled(4))
    client = mlflow.MlflowClient()
    files = {file.path for file in client.list_artifacts(run_id, "sweep")}
    named = (
        "trials.csv",
        "best.yaml",
        "history.png",
        "importance.png",
        "parallel_coordinates.png",
        "seeds.png",
        "seeds.csv",
    )
    assert files >= {f"sweep/{name}" for name in named}
    table = mlflow.artifacts.load_text(f"runs:/{run_id}/sweep/trials.csv").splitlines()
    assert len(table) == 1 + 24 * 3 and table[0].startswith("trial,repeat,model.x,model.y,model.kind,score")
    best = yaml.safe_load(mlflow.artifacts.load_text(f"runs:/{run_id}/sweep/best.yaml"))
    run = client.get_run(client.get_run(run_id).data.tags["repro.best"])
    values = {number: score(definition.settings(BASE, point)) for number, point in points_of(run_id).items()}
    assert score(best) == min(values.values()) and run.data.tags["repro.trial"] == str(min(values, key=values.get))
    [history] = [client.get_metric_history(run_id, "score")]
    assert [metric.step for metric in history] == [7, 15, 23]
    assert [metric.value for metric in history] == sorted((metric.value for metric in history), reverse=True)
    out = capsys.readouterr().out
    assert f"just reproduce {run_id[:8]}" in out and run.info.run_id in out


def tried(engine: Shuffled) -> list[Any]:
    """The jobs of an engine, but for the best trial's, which is done once more for its model."""
    return [job for job in engine.done if not job.whole]


def settled(run_id: str) -> dict[tuple[int, int], Any]:
    """What the ledger of a sweep says."""
    return ledger.rows_of(ledger.Ledger(mlflow.get_run(run_id).info.experiment_id, run_id).runs().values())


def name_of(run: Any) -> str:
    return str(run.data.tags["repro.trial"])


def points_of(run_id: str) -> dict[int, dict[str, Any]]:
    return {
        int(run.data.tags["repro.trial"]): json.loads(run.data.tags["repro.point"])
        for run in children(run_id)
        if "." not in run.data.tags["repro.trial"]
    }


def test_a_trial_that_fails_by_itself_is_recorded_and_not_tried_again(store: Path) -> None:
    def act(job: Any) -> Any:
        return fail(job) if job.settings["model"]["kind"] == "a" else complete(job)

    about, run_id = begin(sweep_of())
    engine = Shuffled(3, act=act)
    result = go_on(about, run_id, engine)
    statuses = Counter(run.info.status for run in children(run_id))
    assert len(tried(engine)) == 24 and statuses["FAILED"] > 2 and statuses.total() == 25
    about, again = begin(sweep_of())
    assert go_on(about, again, Shuffled(1, act=act)) == result


def test_the_best_trial_is_trained_once_more_and_keeps_its_model(store: Path) -> None:
    about, run_id = begin(sweep_of(seeds=2))
    go_on(about, run_id, engine := Shuffled(3))
    kept = [row for row in settled(run_id).values() if row.whole]
    assert [row.run for row in kept] == [mlflow.get_run(run_id).data.tags["repro.best"]]
    assert [job.run for job in engine.done if job.whole] == [kept[0].run]
    assert len(settled(run_id)) == 48 and len(children(run_id)) == 49
    # Others on demand, which changes nothing else.
    result = mlflow.get_run(run_id).data.tags["repro.result"]
    mlflow.start_run(run_id)
    wanted = {0, 3, kept[0].number}
    assert go_on(about, run_id, engine := Shuffled(1), frozenset(wanted)) == result
    assert len(engine.done) == len(wanted) - 1
    assert {(row.number, row.repeat) for row in settled(run_id).values() if row.whole} == {(one, 0) for one in wanted}


def test_all_trials_keep_their_models_where_that_is_said(store: Path) -> None:
    about, run_id = begin(sweep_of(keep="all"))
    go_on(about, run_id, engine := Shuffled(3))
    assert len(engine.done) == 24 and all(row.whole for row in settled(run_id).values())


def test_a_best_trial_that_does_not_repeat_is_told_and_keeps_nothing(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(job: Any) -> Any:
        outcome = complete(job)
        if job.whole:
            mlflow.MlflowClient().set_tag(job.run, "repro.result", "sha256:another")
        return outcome

    about, run_id = begin(sweep_of())
    result = go_on(about, run_id, Shuffled(2, act=act))
    out = capsys.readouterr().out
    best = mlflow.get_run(run_id).data.tags["repro.best"]
    assert "DIFFERENT" in out and f"just reproduce {best[:8]}" in out
    assert len(settled(run_id)) == 24 and not any(row.whole for row in settled(run_id).values())
    about, again = begin(sweep_of())
    assert go_on(about, again, Shuffled(2)) == result


def test_a_model_that_nobody_compared_stands_for_nothing(store: Path) -> None:
    about, run_id = begin(sweep_of())

    def act(job: Any) -> Any:
        outcome = complete(job)
        if job.whole:  # killed before it was compared
            mlflow.MlflowClient().set_tag(job.run, "repro.result", "sha256:another")
            raise KeyboardInterrupt
        return outcome

    with pytest.raises(KeyboardInterrupt):
        go_on(about, run_id, Shuffled(2, act=act))
    result = go_on(about, run_id, Shuffled(2))
    about, again = begin(sweep_of())
    assert go_on(about, again, Shuffled(2)) == result


def test_where_everything_fails_it_ends_with_the_first_batch(store: Path) -> None:
    about, run_id = begin(sweep_of())
    engine = Shuffled(2, act=fail)
    with pytest.raises(ProjectError, match=r"all of the first 8 trials failed:\n  8 x ValueError: no"):
        go_on(about, run_id, engine)
    assert len(engine.done) == 8


def test_a_metric_that_no_trial_logs_is_told_after_the_first(store: Path) -> None:
    about, run_id = begin(sweep_of(metric="scroe"))
    engine = Shuffled(1)
    with pytest.raises(ProjectError, match="no trial logs the metric 'scroe'; they log score"):
        go_on(about, run_id, engine)
    assert len(engine.done) <= 2


def test_a_value_that_is_no_number_is_a_trial_that_failed(store: Path) -> None:
    def act(job: Any) -> Any:
        if job.settings["model"]["kind"] == "a":
            mlflow.MlflowClient().log_metric(job.run, "score", math.nan)
            mlflow.MlflowClient().set_tag(job.run, "repro.result", "sha256:nan")
            mlflow.MlflowClient().set_terminated(job.run)
            return jobs.Outcome(jobs.FINISHED)
        return complete(job)

    about, run_id = begin(sweep_of())
    go_on(about, run_id, Shuffled(2, act=act))
    assert yaml.safe_load(mlflow.artifacts.load_text(f"runs:/{run_id}/sweep/best.yaml"))["model"]["kind"] == "b"


def test_a_trial_that_is_lost_again_and_again_ends_the_sweep_which_can_go_on(store: Path) -> None:
    about, run_id = begin(sweep_of())
    with pytest.raises(ProjectError, match="was lost 3 times: the plug was pulled") as refusal:
        go_on(about, run_id, Shuffled(1, lost=1.0))
    assert f"just sweep --resume {run_id}" in refusal.value.fix
    assert ledger.Ledger(mlflow.get_run(run_id).info.experiment_id, run_id).settled() == {}  # as who begins sweeps does
    assert {run.info.status for run in children(run_id)} == {"KILLED"}
    resumed = go_on(about, run_id, Shuffled(2))
    about, whole = begin(sweep_of())
    assert resumed == go_on(about, whole, Shuffled(2))


def test_a_trial_that_crashes_every_time_has_failed_and_one_that_was_killed_once_has_not(store: Path) -> None:
    crashes: Counter[str] = Counter()

    def act(job: Any) -> Any:
        kind = job.settings["model"]["kind"]
        name = mlflow.get_run(job.run).data.tags["repro.trial"]
        crashes[name] += 1
        if kind == "a" or crashes[name] == 1:
            return jobs.Outcome(jobs.CRASHED, "its process was ended by SIGKILL")
        return complete(job)

    about, run_id = begin(sweep_of(trials=8))
    go_on(about, run_id, Shuffled(1, act=act))
    found = settled(run_id).values()
    assert {row.point["model.kind"]: row.cause for row in found} == {"a": "its process was ended by SIGKILL", "b": ""}
    tries = {row.point["model.kind"]: crashes[str(row.number)] for row in found}
    assert len(found) == 8 and tries == {"a": 3, "b": 2}


def test_a_late_twin_of_a_lost_trial_is_refused_by_the_store(store: Path) -> None:
    late: list[Any] = []

    def act(job: Any) -> Any:
        if not late:  # the machine does not answer any more, and goes on
            late.append(job)
            return jobs.Outcome(jobs.LOST, "no answer")
        return complete(job)

    about, run_id = begin(sweep_of(trials=4, batch=4))
    result = go_on(about, run_id, Shuffled(2, act=act))
    [job] = late
    job.settings["model"]["x"] = 99.0
    with pytest.raises(mlflow.MlflowException, match="active"):
        complete(job)
    client = mlflow.MlflowClient()
    with pytest.raises(mlflow.MlflowException, match="active"):
        client.set_terminated(job.run, "FINISHED")
    assert len(settled(run_id)) == 4
    assert client.get_run(run_id).data.tags["repro.result"] == result


def test_a_sweep_that_was_cut_short_goes_on_without_doing_anything_twice(store: Path) -> None:
    about, whole = begin(sweep_of(seeds=2))
    result = go_on(about, whole, Shuffled(3))
    about, run_id = begin(sweep_of(seeds=2))
    left = random.randrange(1, 47)

    def act(job: Any) -> Any:
        if len(engine.done) > left:
            raise KeyboardInterrupt  # with others begun, whose runs stay open
        return complete(job)

    engine = Shuffled(3, act=act)
    with pytest.raises(KeyboardInterrupt):
        go_on(about, run_id, engine)
    finished = {name_of(run): run.info.run_id for run in children(run_id) if run.info.status == "FINISHED"}
    engine = Shuffled(2)
    assert go_on(about, run_id, engine) == result
    assert len(tried(engine)) == 48 - len(finished)
    active = {name_of(run): run.info.run_id for run in children(run_id) if run.info.lifecycle_stage == "active"}
    best = name_of(mlflow.get_run(mlflow.get_run(run_id).data.tags["repro.best"]))  # which has a run with its model
    assert len(active) == 48 and finished.items() <= {**active, best: finished.get(best)}.items()


def test_code_that_is_edited_meanwhile_ends_the_sweep(store: Path) -> None:
    def act(job: Any) -> Any:
        complete(job)
        return jobs.Outcome(jobs.FINISHED, modules={"bikes/train.py": f"sha256:{len(engine.done) > 9}"})

    about, run_id = begin(sweep_of())
    engine = Shuffled(1, act=act)
    with pytest.raises(ProjectError, match=r"bikes/train\.py is not as the trials of the sweep"):
        go_on(about, run_id, engine)
    assert len(settled(run_id)) == 10, "those before, and the one that was begun before that was seen"
    with pytest.raises(ProjectError, match=r"bikes/train\.py is not as"):
        code.require_here(run_id)


def test_what_ended_in_other_code_is_done_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about, run_id = begin(sweep_of())
    go_on(about, run_id, Shuffled(1))
    late = {trial_of(run_id, 5), trial_of(run_id, 7)}

    def recorded(run: Any) -> dict[str, Any]:
        return {"code": {"modules": {"bikes/train.py": "sha256:2" if run.info.run_id in late else "sha256:1"}}}

    monkeypatch.setattr(ledger.makers, "recorded", recorded)
    book = ledger.Ledger(mlflow.get_run(run_id).info.experiment_id, run_id)
    assert {number for number, _ in book.settled(code.recorded(run_id))} == {*range(24)} - {5, 7}
    assert {*range(24)} - {number for number, _ in settled(run_id)} == {5, 7}


def test_several_kinds_of_cpu_are_told_once(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def act(job: Any) -> Any:
        complete(job)
        features = ["AVX2", "SSE"] if len(engine.done) % 2 else ["SSE"]
        return jobs.Outcome(jobs.FINISHED, features=features)

    about, run_id = begin(sweep_of(trials=6, batch=3))
    engine = Shuffled(1, act=act)
    go_on(about, run_id, engine)
    out = capsys.readouterr().out
    assert out.count("another kind of CPU") == 1 and "(AVX2)" in out


# --- The proof --------------------------------------------------------------------
@pytest.fixture
def done(store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A sweep whose runs have records that say the same as the store."""
    about, run_id = begin(sweep_of(trials=10, batch=4))
    go_on(about, run_id, Shuffled(2))
    saved = {}
    for run in children(run_id):
        metrics = {"score": run.data.metrics["score"].hex()}
        given = digest.of_value(definition.settings(BASE, json.loads(run.data.tags["repro.point"])))
        saved[run.info.run_id] = {"result": run.data.tags["repro.result"], "metrics": metrics, "given": given}
        saved[run.info.run_id]["code"] = {"modules": {"bikes/train.py": "sha256:1"}}
    monkeypatch.setattr(proving.tracking, "connect", lambda: None)
    monkeypatch.setattr(proving.makers, "recorded", lambda run: saved[run.info.run_id])
    return run_id


def test_a_sweep_is_proven_by_its_plan_and_its_records(done: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert proving.is_sweep(done) and proving.reproduce_sweep(done) == 0
    assert "10 runs of trials  identical" in capsys.readouterr().out
    assert mlflow.get_run(done).data.tags["repro.verdict"] == "identical"


def trial_of(run_id: str, number: int) -> str:
    return next(run.info.run_id for run in children(run_id) if run.data.tags["repro.trial"] == str(number))


CHANGES: dict[str, tuple[Callable[[Any, str], object], str]] = {
    "a value": (lambda client, run: client.set_tag(trial_of(run, 6), "repro.point", '{"model.x": 0.0}'), "trial 6 has"),
    "a metric": (
        lambda client, run: client.log_metric(trial_of(run, 6), "score", -9.0, step=9),
        "another score than",
    ),
    "a metric of the first batch": (
        lambda client, run: client.log_metric(trial_of(run, 0), "score", -9.0, step=9),
        "where the plan has",
    ),
    "a result": (
        lambda client, run: client.set_tag(trial_of(run, 2), "repro.result", "sha256:1"),
        "with another result",
    ),
    "a trial gone": (
        lambda client, run: client.delete_run(trial_of(run, 9)),
        "trial 9 is planned, and",
    ),
    "the whole result": (lambda client, run: client.set_tag(run, "repro.result", "sha256:1"), "do not give"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_of_a_sweep_is_named(done: str, change: str, capsys: pytest.CaptureFixture[str]) -> None:
    act, said = CHANGES[change]
    act(mlflow.MlflowClient(), done)
    assert proving.reproduce_sweep(done) == 1
    assert said in capsys.readouterr().out
    assert mlflow.get_run(done).data.tags["repro.verdict"] == "different"


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"given": digest.of_value(BASE)}, "was of other settings than the plan gives it"),
        (
            {"code": {"modules": {"bikes/train.py": "sha256:2"}}},
            "was of other code than those before it: bikes/train.py",
        ),
    ],
)
def test_a_run_of_other_settings_or_code_is_named(
    done: str, lie: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded, other = proving.makers.recorded, trial_of(done, 6)
    monkeypatch.setattr(
        proving.makers, "recorded", lambda run: recorded(run) | (lie if run.info.run_id == other else {})
    )
    assert proving.reproduce_sweep(done) == 1
    assert f"run {other} {said}" in capsys.readouterr().out


def test_a_description_that_was_changed_is_no_description(done: str) -> None:
    file = Path(mlflow.get_run(done).info.artifact_uri.removeprefix("file://")) / description.FILE
    file.write_text(file.read_text().replace("batch: 4", "batch: 5"))
    with pytest.raises(ProjectError, match="was changed in the store") as refusal:
        proving.reproduce_sweep(done)
    assert refusal.value.exit_code == 1


def test_a_sweep_that_is_not_done_cannot_be_proven(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving.tracking, "connect", lambda: None)
    _, run_id = begin(sweep_of())
    with pytest.raises(ProjectError, match="is RUNNING, and has no result yet") as refusal:
        proving.reproduce_sweep(run_id)
    assert refusal.value.exit_code == 2


# --- What failed, and what was lost -----------------------------------------------
def of_own_code(error: Exception) -> Exception:
    """Raise an error in a file of the project's own."""
    code = compile("raise error", str(load("common.project").ROOT / "bikes" / "train.py"), "exec")
    try:
        exec(code, {"error": error})
    except Exception as raised:
        return raised
    raise AssertionError


def wrapped_in(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (of_own_code(ValueError("no")), "failed"),
        (of_own_code(ProjectError("a class has no rows", "…")), "failed"),
        (of_own_code(mlflow.MlflowException("a metric has no name")), "failed"),
        (wrapped_in(ProjectError("no deterministic form", "…"), of_own_code(RuntimeError("bincount"))), "failed"),
        (of_own_code(ConnectionResetError("peer")), "lost"),
        (of_own_code(mlflow.MlflowException("API request to /api failed with exception x")), "lost"),
        (of_own_code(mlflow.MlflowException("failed with error code 503 != 200")), "lost"),
        (wrapped_in(of_own_code(ValueError("no batch")), TimeoutError()), "lost"),
        (ProjectError("the tracking server does not answer", "…"), "lost"),
        (OSError(28, "No space left on device"), "lost"),
    ],
)
def test_only_what_the_training_itself_raised_would_come_again(error: Exception, status: str) -> None:
    assert perform._ended(error).status == status


# --- Seeds ------------------------------------------------------------------------
def test_seeds_say_what_of_a_metric_is_chance() -> None:
    values = np.random.default_rng(1).normal(0.9, 0.01, 12)
    found = [
        rows.Row(0, repeat, {}, "", {"accuracy": value, "constant": 1.0}, "") for repeat, value in enumerate(values)
    ]
    table = spread.table(found, interval=True)
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert table.loc["accuracy", ["low", "high"]].tolist() == pytest.approx([low, high])
    assert table.loc["accuracy", ["mean", "spread", "min", "max"]].tolist() == pytest.approx(
        [values.mean(), values.std(ddof=1), values.min(), values.max()]
    )
    assert table.loc["constant", ["low", "high", "spread"]].tolist() == [1, 1, 0] and table["runs"].tolist() == [12, 12]


def test_seeds_alone_are_a_sweep_too(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about, run_id = begin({"space": {}, "trials": 1, "seeds": 5})
    engine = Shuffled(3)
    go_on(about, run_id, engine)
    assert sorted(job.settings["seed"] for job in engine.done) == [3, 4, 5, 6, 7]
    assert {job.settings["model"]["x"] for job in engine.done} == {0.0}
    assert "95 % of the mean" in capsys.readouterr().out


def test_a_seed_that_fails_leaves_what_the_others_say(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about, run_id = begin({"space": {}, "trials": 1, "seeds": 4})
    go_on(about, run_id, Shuffled(2, act=lambda job: fail(job) if job.settings["seed"] == 3 else complete(job)))
    assert "1 of 4: 1 x ValueError" in capsys.readouterr().out
    table = mlflow.artifacts.load_text(f"runs:/{run_id}/sweep/seeds.csv").splitlines()
    assert table[1].startswith("score,") and table[1].endswith(",3")


def test_the_last_seed_is_followed_by_the_first() -> None:
    sweep = definition.parse({"space": {}, "trials": 1, "seeds": 2}, "")
    assert sweep.of_repeat({"seed": 2**32 - 1}, 1) == {"seed": 0}


def test_folds_are_runs_of_a_trial_that_hold_out_another_part(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about, run_id = begin(sweep_of(folds=3, trials=4, batch=2))
    result = go_on(about, run_id, engine := Shuffled(4))
    parts = Counter((job.settings["folds"], job.settings["fold"], job.settings["seed"]) for job in engine.done)
    assert parts == Counter({(3, fold, 3): 4 for fold in (1, 2, 3)}) and not any(job.whole for job in engine.done)
    assert yaml.safe_load(mlflow.artifacts.load_text(f"runs:/{run_id}/sweep/best.yaml"))["folds"] == 3
    out = capsys.readouterr().out
    assert f"just train --config runs:/{run_id}/sweep/best.yaml" in out and "95 %" not in out
    with pytest.raises(ProjectError, match="none has a model of all rows"):
        description.require_models(mlflow.get_run(run_id))
    about, again = begin(sweep_of(folds=3, trials=4, batch=2))
    assert go_on(about, again, Shuffled(1, lost=0.4)) == result


def test_a_trial_has_several_seeds_or_several_folds() -> None:
    with pytest.raises(ProjectError, match="several `seeds` or several `folds`"):
        definition.parse(sweep_of(folds=3, seeds=2), "")


def test_settings_without_a_fold_are_told_before_anything_runs() -> None:
    class Settings(BaseModel):
        seed: int

    sweep = definition.parse({"space": {}, "trials": 1, "folds": 2}, "")
    with pytest.raises(ProjectError, match="have no 'folds'"):
        definition.require_fitting(sweep, {"seed": 1}, Settings)


def test_a_project_without_optuna_is_told_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "optuna":
            raise ImportError("no", name="optuna")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ProjectError, match="needs optuna, which is not in this project's lock") as refusal:
        planner.load()
    assert "just lock" in refusal.value.fix


def test_the_process_of_a_trial_has_the_variables_of_its_run() -> None:
    local = load("engines.local")
    job = jobs.Job("0" * 32, "train", {"seed": 5, "threads": 2}, {})
    found = local._variables(job)
    assert found["PYTHONHASHSEED"] == "5" and found["OMP_NUM_THREADS"] == "2" and "MLFLOW_RUN_ID" not in found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux says which files are open")
@pytest.mark.parametrize("is_there", [True, False])
def test_no_child_inherits_a_store_that_is_open(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run = tmp_path / "store.db", "0" * 32
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite.uri(store))
    if is_there:
        run = mlflow.MlflowClient(sqlite.uri(store)).create_run("0").info.run_id
        assert store in _open_files()
    load("engines.fork_server")._look_into_store(jobs.Job(run, "train", {}, {}))
    assert store.exists() and store not in _open_files()


def _open_files() -> set[Path]:
    return {link.readlink() for link in Path("/proc/self/fd").iterdir() if os.path.lexists(link)}


def test_jobs_and_outcomes_are_read_as_they_were_written(tmp_path: Path) -> None:
    import datetime

    job = jobs.Job("0" * 32, "train", {"seed": 1, 1: datetime.date(2026, 1, 1), "x": 1e-05, "y": 0.1 + 0.2}, {"a": "b"})
    job.write(tmp_path / "job")
    assert jobs.Job.read(tmp_path / "job") == job
    outcome = jobs.Outcome(jobs.FAILED, "why", {"a": "b"})
    outcome.write(tmp_path / "outcome")
    assert jobs.Outcome.read(tmp_path / "outcome") == outcome and jobs.Outcome.read(tmp_path / "none") is None
