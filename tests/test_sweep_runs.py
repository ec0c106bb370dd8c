"""Sweeps of rendered projects: real trainings, in processes that are killed."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import FRAMEWORKS, Project, clone
from test_interrupts import members, send, started, wait_for

pytestmark = pytest.mark.e2e

#: Settings by which a training is short.
SHORT = {
    "scikit-learn": {"model.n_estimators": 3},
    "xgboost": {"model.rounds": 5},
    "lightgbm": {"model.rounds": 5},
    "pytorch": {"model.epochs": 2},
    "tensorflow": {"model.epochs": 2},
}


def conf(project: Project, framework: str = "scikit-learn", **changes: Any) -> None:
    """Make the sweep that every project has a short one."""
    file = project.path / "confs" / "sweep.yaml"
    sweep = yaml.safe_load(file.read_text("utf-8")) | {"trials": 6, "batch": 3} | changes
    file.write_text(yaml.safe_dump(sweep, sort_keys=False), "utf-8")
    file = project.path / "confs" / "train.yaml"
    text = file.read_text("utf-8")
    for path, value in SHORT[framework].items():
        key = path.rpartition(".")[2]
        [line] = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
        text = text.replace(line, f"  {key}: {value}")
    file.write_text(text, "utf-8")
    project.commit()


@pytest.fixture
def project(set_up: Any, tmp_path: Path) -> Project:
    project = clone(set_up("classification"), tmp_path / "bikes")
    conf(project)
    return project


def sweeps(project: Project) -> list[Any]:
    """The runs of sweeps, the newest first."""
    return [run for run in project.runs() if "repro.sweep" in run.data.tags]


def trials(project: Project, sweep: Any) -> dict[str, Any]:
    """The runs of the trials of a sweep, by what they are called."""
    own = [run for run in project.runs() if run.data.tags.get("mlflow.parentRunId") == sweep.info.run_id]
    named = {run.data.tags["repro.trial"]: run for run in own}
    assert len(named) == len(own), "no trial is done twice"
    return named


def begun(project: Project) -> bool:
    return (project.path / "mlflow.db").exists()


def finished(project: Project) -> int:
    """How many runs of trials have finished, asked as often as one likes."""
    if not begun(project):
        return 0
    with closing(sqlite3.connect(f"file:{project.path / 'mlflow.db'}?mode=ro", uri=True)) as store:
        query = (
            "SELECT count(*) FROM runs JOIN tags USING (run_uuid) WHERE tags.key = 'repro.trial'"
            " AND status = 'FINISHED' AND lifecycle_stage = 'active'"
        )
        try:
            return int(store.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # no tables yet
            return 0


def test_a_sweep_from_its_conf_to_the_champion(project: Project) -> None:
    out = project.just("sweep", "--workers", "2").stdout
    [sweep] = sweeps(project)
    found = trials(project, sweep)
    assert len(found) == 6 and sweep.info.status == "FINISHED"
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    best = sweep.data.tags["repro.best"]
    assert [run.info.run_id for run in found.values() if "repro.model" in run.data.tags] == [best]
    assert best in out and sweep.info.run_id in out and "Downloading" not in out
    notes = {run.info.run_id: run.data.tags.get("mlflow.note.content", "") for run in [sweep, *found.values()]}
    assert [run_id for run_id in notes if notes[run_id]] == [sweep.info.run_id, best], (
        "only these say how to repeat them"
    )
    assert f"runs/{best})" in notes[sweep.info.run_id] and f"just reproduce {best}" in notes[best]
    assert not any(run.info.run_id[:8] in project.just("runs").stdout for run in found.values())
    assert best[:8] in project.just("runs", "--of", sweep.info.run_id[:8]).stdout

    # Its best trial's conf gives what its trial gave, in an ordinary training.
    text = project.client().download_artifacts(sweep.info.run_id, "sweep/best.yaml", str(project.path))
    project.just("train", "--config", text)
    [train] = [run for run in project.runs() if run.data.tags.get("repro.step") == "train" and not is_trial(run)][:1]
    assert train.data.tags["repro.result"] == project.client().get_run(best).data.tags["repro.result"]

    refused = project.just("promote", "best", sweep.info.run_id, check=False)
    assert refused.returncode == 3 and f"just reproduce {best}" in refused.stdout
    assert "identical" in project.just("reproduce", best).stdout
    assert "is champion" in project.just("promote", "best", sweep.info.run_id).stdout

    # The model of another, where somebody wants it.
    other = next(run for run in found.values() if run.info.run_id != best)
    refused = project.just("predict", other.info.run_id, "data/breast_cancer.csv", check=False).stdout
    command = f"just sweep --resume {sweep.info.run_id} --keep {other.data.tags['repro.trial']}"
    assert command in refused
    project.just(*command.split()[1:])
    kept = trials(project, sweep)[other.data.tags["repro.trial"]]
    assert kept.data.tags["repro.result"] == other.data.tags["repro.result"] and "repro.model" in kept.data.tags
    assert project.client().get_run(sweep.info.run_id).info.status == "FINISHED"
    refused = project.just("sweep", "--resume", "last", "--keep", "99", check=False).stdout
    assert "has no trial 99 that finished" in refused

    told = project.just("reproduce", sweep.info.run_id, "--sample", "1").stdout
    assert "plan and results  6 runs of trials  identical" in told and told.count("identical") >= 2
    judged = project.client().get_run(sweep.info.run_id).data.tags["mlflow.note.content"]
    assert "**Verdict:** **identical**: plan and results; 1 of 6 runs executed. More in" in judged
    assert f"runs/{best})" in judged and f"runs/{sweep.info.run_id}/artifacts/sweep/verdict.html)" in judged
    page = Path(project.client().download_artifacts(sweep.info.run_id, "sweep/verdict.html", str(project.path)))
    assert ">identical</h1>" in page.read_text("utf-8") and best in page.read_text("utf-8")

    # Through MLflow, with another number of workers: the same result.
    project.just("run", "-e", "sweep")
    again, _ = sweeps(project)
    assert again.data.tags["repro.result"] == sweep.data.tags["repro.result"]
    assert len(trials(project, again)) == 6 and again.data.tags["mlflow.project.entryPoint"] == "sweep"


def is_trial(run: Any) -> bool:
    return "repro.trial" in run.data.tags


def parents(process: int) -> dict[int, int]:
    """The parent of each living process of a group."""
    found = {}
    for one in members(process):
        with suppress(FileNotFoundError):
            found[one] = int(Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def words(process: int) -> list[str]:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
    return []


def victims(process: int, who: str) -> list[int]:
    """The processes of a sweep that are meant by a word."""
    if who == "all":
        return [*parents(process)]
    servers = {one: parent for one, parent in parents(process).items() if "jobs" in words(one)}
    forked = [one for one, parent in servers.items() if parent in servers]
    return forked[:1] if who == "a trial" else [one for one in servers if one not in forked]


def kill(processes: list[int]) -> None:
    for one in processes:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The result of the sweep when nothing goes wrong."""
    project = clone(set_up("classification"), tmp_path_factory.mktemp("whole") / "bikes")
    conf(project, trials=8, batch=4, seeds=2)
    project.just("sweep", "--workers", "2")
    [sweep] = sweeps(project)
    return str(sweep.data.tags["repro.result"])


@pytest.mark.parametrize(
    "how",
    [
        "Ctrl-C",
        pytest.param("SIGTERM to just", marks=pytest.mark.slow),
        *(pytest.param(f"all, try {number}", marks=pytest.mark.slow) for number in range(1, 21)),
    ],
)
def test_a_sweep_that_was_cut_short_comes_to_the_result_of_one_that_was_not(
    project: Project, whole: str, how: str
) -> None:
    conf(project, trials=8, batch=4, seeds=2)
    until = random.randrange(1, 15)
    with started(project, "just", "sweep", "--workers", "2") as process:
        wait_for(
            lambda: process.poll() is not None or (begun(project) and finished(project) >= until), "trials are done"
        )
        assert process.poll() is None, process.communicate()[0]
        if how.startswith("all"):
            kill(victims(process.pid, "all"))
        else:
            send(process, how)
        out = process.communicate(timeout=60)[0]
    [sweep] = sweeps(project)
    done = finished(project)
    if not how.startswith("all"):
        assert process.returncode == 130 and f"just sweep --resume {sweep.info.run_id}" in out
        assert {run.info.status for run in project.runs()} <= {"KILLED", "FINISHED"}
    resumed = project.just("sweep", "--resume", "last")
    [sweep] = sweeps(project)
    found = trials(project, sweep)
    assert sweep.data.tags["repro.result"] == whole, resumed.stdout
    assert Counter(run.info.status for run in found.values()) == {"FINISHED": 16} and done <= 16
    assert not [run for run in project.runs() if run.info.status == "RUNNING"]
    assert "is done" in project.just("sweep", "--resume", sweep.info.run_id[:8]).stdout
    [still] = sweeps(project)
    assert still.info.end_time == sweep.info.end_time and len(trials(project, still)) == 16


@pytest.mark.parametrize("who", ["a trial", pytest.param("the process that is forked", marks=pytest.mark.slow)])
def test_a_process_that_is_killed_is_replaced(project: Project, whole: str, who: str) -> None:
    conf(project, trials=8, batch=4, seeds=2)
    with started(project, "just", "sweep", "--workers", "2") as process:
        chosen: list[int] = []

        def found() -> bool:
            chosen[:] = victims(process.pid, who)
            return bool(chosen) and finished(project) >= 1

        wait_for(lambda: process.poll() is not None or found(), "a trial goes on")
        kill(chosen)
        out = process.communicate(timeout=300)[0]
        assert process.returncode == 0, out
    [sweep] = sweeps(project)
    assert sweep.data.tags["repro.result"] == whole
    assert Counter(run.info.status for run in trials(project, sweep).values()) == {"FINISHED": 16}


def test_an_edit_in_the_middle_is_no_part_of_the_sweep(project: Project) -> None:
    with started(project, "just", "sweep", "--workers", "1") as process:
        code = "*/artifacts/sweep/code.json"
        wait_for(lambda: process.poll() is not None or any((project.path / "mlruns").glob(code)), "a trial is done")
        assert process.poll() is None, process.communicate()[0]
        send(process, "Ctrl-C")
        process.communicate(timeout=60)
    [sweep] = sweeps(project)
    module = project.path / "bikes" / "model.py"
    before = module.read_text("utf-8")
    module.write_text(before + "\nEDITED = True\n", "utf-8")
    refused = project.just("sweep", "--resume", sweep.info.run_id, check=False)
    assert refused.returncode == 3 and "bikes/model.py is not as the trials" in refused.stdout
    module.write_text(before, "utf-8")
    project.just("sweep", "--resume", sweep.info.run_id)


@pytest.mark.slow
def test_a_trial_of_the_users_own_fault_is_told_by_its_cause(project: Project) -> None:
    train = project.path / "bikes" / "train.py"
    text = train.read_text("utf-8")
    train.write_text(
        text.replace(
            "    table = run.dataset(",
            '    if settings.model.max_depth and settings.model.max_depth > 8:\n        raise ValueError("too deep")\n'
            "    table = run.dataset(",
            1,
        ),
        "utf-8",
    )
    project.commit()
    out = project.just("sweep").stdout
    [sweep] = sweeps(project)
    states = Counter(run.info.status for run in trials(project, sweep).values())
    assert states["FAILED"] and states["FINISHED"] and "x ValueError" in out
    assert "identical" in project.just("reproduce", sweep.info.run_id).stdout


@pytest.mark.slow
def test_a_best_trial_that_does_not_repeat_is_told(project: Project) -> None:
    train = project.path / "bikes" / "train.py"
    text = train.read_text("utf-8")
    train.write_text(
        text.replace("    return Result(", '    metrics["chance"] = __import__("time").time()\n    return Result(', 1),
        "utf-8",
    )
    conf(project, trials=2, batch=2)
    out = project.just("sweep").stdout
    [sweep] = sweeps(project)
    assert "DIFFERENT" in out and sweep.info.status == "FINISHED"
    assert len(trials(project, sweep)) == 2
    [command] = re.findall(r"just (reproduce \w+) ", out)[:1]
    told = project.just(*command.split(), check=False)
    assert told.returncode == 1 and "chance" in told.stdout


def test_only_a_trial_that_keeps_its_pictures_draws_them(project: Project) -> None:
    plots = project.path / "bikes" / "plots.py"
    text = plots.read_text("utf-8")
    plots.write_text(text.replace("    figure = Figure(", '    print("drawn")\n    figure = Figure(', 1), "utf-8")
    conf(project, trials=2, batch=2)
    project.just("sweep")
    [sweep] = sweeps(project)
    kept = {
        run.info.run_id: {file.path for file in project.client().list_artifacts(run.info.run_id)}
        for run in trials(project, sweep).values()
    }
    assert kept.pop(sweep.data.tags["repro.best"]) >= {"plots", "log.txt"}
    assert list(kept.values()) == [{"record"}]


def test_seeds_tell_chance_from_merit(project: Project) -> None:
    out = project.just("seeds", "3").stdout
    assert "95 % of the mean" in out and "accuracy" in out
    [sweep] = sweeps(project)
    seeds = sorted(int(run.data.params["conf.seed"]) for run in trials(project, sweep).values())
    assert seeds == [42, 43, 44]


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_folds_side_by_side_give_the_bits_of_those_in_a_row(set_up: Any, tmp_path: Path, framework: str) -> None:
    project = clone(set_up("classification", framework), tmp_path / "bikes")
    conf(project, framework, trials=2, batch=2, folds=2)
    project.just("folds", "3", "--workers", "3")
    [side_by_side] = sweeps(project)
    project.just("train", "--set", "folds=3")
    [in_a_row] = [run for run in project.runs() if not is_trial(run) and "repro.sweep" not in run.data.tags]
    for name, run in trials(project, side_by_side).items():
        fold = 1 + int(name.partition(".")[2] or 0)
        own = {f"{metric}_fold_{fold}": value for metric, value in run.data.metrics.items() if "epoch" not in metric}
        found = {metric: in_a_row.data.metrics[metric] for metric in own if metric in in_a_row.data.metrics}
        assert found and found == {metric: own[metric] for metric in found}
    assert "identical" in project.just("reproduce", side_by_side.info.run_id, "--sample", "1").stdout

    # In a search, a trial is worth the mean of its folds; a model of all rows takes one training.
    out = project.just("sweep").stdout
    sweep, _ = sweeps(project)
    assert len(trials(project, sweep)) == 4
    refused = project.just("promote", "best", sweep.info.run_id, check=False).stdout
    command = f"train --config runs:/{sweep.info.run_id}/sweep/best.yaml"
    assert f"just {command}" in refused and f"just {command}" in out
    project.just(*command.split())
    best = sweep.data.metrics["accuracy"]
    assert project.runs()[0].data.metrics["accuracy"] == pytest.approx(best)
    refused = project.just("train", "--config", f"runs:/{'0' * 32}", check=False)
    assert refused.returncode == 3 and "just runs" in refused.stdout


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_trial_gives_the_bits_of_a_training(set_up: Any, tmp_path: Path, framework: str) -> None:
    project = clone(set_up("classification", framework), tmp_path / "bikes")
    conf(project, framework, trials=2, batch=2)
    project.just("sweep", "--workers", "2")
    [sweep] = sweeps(project)
    for run in trials(project, sweep).values():
        told = project.client().download_artifacts(run.info.run_id, "record/conf.yaml", str(tmp_path))
        project.just("train", "--config", told)
        train = next(run for run in project.runs() if "repro.step" in run.data.tags and not is_trial(run))
        assert train.data.tags["repro.result"] == run.data.tags["repro.result"]
    assert "identical" in project.just("reproduce", sweep.info.run_id, "--sample", "1").stdout


REST = "trials: 2\nmetric: accuracy\ndirection: maximize\n"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (f"space: {{model.max_dept: {{type: int, low: 1, high: 2}}}}\n{REST}", 3, "Did you mean model.max_depth?"),
        (f"spaces: {{}}\n{REST}", 3, "spaces: Extra inputs"),
        (f"space: {{model.max_depth: {{type: int, low: 0, high: 2}}}}\n{REST}", 3, "lets model.max_depth be 0"),
        ("- a", 3, "is not a list of `key: value` lines"),
        (None, 3, "just an example"),
    ],
)
def test_a_conf_that_is_wrong_is_told_before_anything_runs(
    project: Project, text: str | None, code: int, said: str
) -> None:
    file = project.path / "confs" / "sweep.yaml"
    file.unlink() if text is None else file.write_text(text)
    done: subprocess.CompletedProcess[str] = project.just("sweep", check=False)
    assert done.returncode == code and "error:" in done.stdout and len(done.stdout.splitlines()) < 30
    assert (said if text else "sampler: tpe") in done.stdout
    assert not begun(project)
