"""Steps of a pipeline on an engine: what is lost is done again, what fails is told, and what is ended is given up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import mlflow
import pytest
from test_sweeps import made, store  # noqa: F401 - fixtures

from harness import load

executors, jobs = load("pipeline.executors"), load("engines.jobs")
SETTINGS = {"prepare": {"seed": 1, "threads": 1}}


class Engine:
    """Gives a job the outcome that comes next."""

    width = 2

    def __init__(self, *outcomes: Any, act: Callable[[], object] = lambda: None) -> None:
        self.outcomes = [*outcomes]
        self.jobs: list[Any] = []
        self.act = act

    def submit(self, job: Any) -> Future[Any]:
        self.jobs.append(job)
        self.act()
        future: Future[Any] = Future()
        future.set_result(self.outcomes.pop(0))
        return future

    def close(self) -> None:
        self.outcomes.insert(0, jobs.Outcome(jobs.LOST, "it was ended"))


@pytest.fixture
def pipeline(store: Path) -> str:  # noqa: F811
    return str(mlflow.start_run(run_name="pipeline").info.run_id)


def lost() -> Any:
    return jobs.Outcome(jobs.LOST, "the plug was pulled")


def stages() -> dict[str, str]:
    """The runs that were made for steps: whether each still counts."""
    runs = mlflow.MlflowClient().search_runs(["1"], "tags.`repro.pipeline` != ''", mlflow.entities.ViewType.ALL)
    return {run.info.run_id: run.info.lifecycle_stage for run in runs}


def test_a_step_that_is_lost_is_done_again_in_another_run(pipeline: str) -> None:
    engine, told = Engine(lost(), jobs.Outcome(jobs.FINISHED)), []
    remote = executors.Remote(engine, SETTINGS, lambda step, what: told.append(what))
    code, run_id = remote.execute("prepare", pipeline, {"fetch": "1234"})
    assert code == 0 and run_id == engine.jobs[1].run
    assert stages() == {engine.jobs[0].run: "deleted", run_id: "active"}
    assert told == ["was lost: the plug was pulled"]
    assert engine.jobs[1].standing == {"fetch": "1234"} and engine.jobs[1].settings == SETTINGS["prepare"]
    assert mlflow.get_run(run_id).data.tags["mlflow.parentRunId"] == pipeline


def test_a_step_that_is_lost_every_time_has_failed(pipeline: str) -> None:
    remote = executors.Remote(Engine(*(lost() for _ in range(jobs.TRIES))), SETTINGS, lambda step, what: None)
    assert remote.execute("prepare", pipeline, {})[0] != 0
    assert {*stages().values()} == {"deleted"}


def test_a_step_that_fails_by_itself_is_not_tried_again(pipeline: str) -> None:
    engine, told = Engine(jobs.Outcome(jobs.FAILED, "ValueError: no")), []
    remote = executors.Remote(engine, SETTINGS, lambda step, what: told.append(what))
    code, _ = remote.execute("prepare", pipeline, {})
    assert code == 3 and "ValueError: no" in told[0] and engine.jobs[0].run in told[0]
    assert stages() == {engine.jobs[0].run: "active"}


def test_a_step_that_was_ended_is_given_up_and_no_other_begins(pipeline: str) -> None:
    engine = Engine(act=lambda: remote.stop())
    remote = executors.Remote(engine, SETTINGS, lambda step, what: None)
    code, _ = remote.execute("prepare", pipeline, {})
    assert code == 130 and len(engine.jobs) == 1 and {*stages().values()} == {"deleted"}
    assert remote.execute("prepare", pipeline, {})[0] == 130 and len(engine.jobs) == 1
