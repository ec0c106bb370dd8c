"""MLFLOW_RUN_ID: only a run that `mlflow run` has just made for this process is joined; none is written over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import pytest
from conftest import Project, clone
from test_reproduce import SMALL, train

from harness import load

#: What `mlflow run` leaves of a run by the time that its child starts.
PROJECT = {"mlflow.source.type": "PROJECT", "mlflow.project.entryPoint": "main", "mlflow.project.env": "uv"}
ENTRY_POINTS = """\
entry_points:
  main: {command: "python -m bikes train --config {config}"}
  verify: {command: "python -m bikes verify"}
  own: {command: "python own.py"}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A store of this module's own, in which runs cost nothing."""
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path_factory.mktemp('joining') / 'mlflow.db'}")
    del os.environ["MLFLOW_TRACKING_URI"]  # MLflow sets it for children, which projects are not
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def joining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    joining = load("store.joining")
    (tmp_path / "MLproject").write_text(ENTRY_POINTS)
    monkeypatch.setattr(joining, "ROOT", tmp_path)
    monkeypatch.setattr(joining, "PACKAGE", "bikes")
    monkeypatch.setattr(sys, "argv", ["bikes", "train"])
    for name in joining.NAMES:
        monkeypatch.delenv(name, raising=False)
    return joining


def invite(store: Any, monkeypatch: pytest.MonkeyPatch, tags: dict[str, str] = PROJECT, **variables: str) -> str:
    """Make a run, and name it as `mlflow run` does."""
    run = store.create_run("0", tags=tags)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return str(run.info.run_id)


def test_the_entry_points_are_read_with_their_parameters(joining: ModuleType) -> None:
    file = joining.ROOT / "MLproject"
    file.write_text('entry_points:\n  main: {command: "python x.py", parameters: {seed: float, set: string}}\n')
    assert joining.entry_points() == {"main": ("python x.py", ["seed", "set"])}
    for text in ("", "entry_points:", "entry_points: [main]", "entry_points: {main: x}", "entry_points: {", "x: 1"):
        file.write_text(text)
        with pytest.raises(load("common.errors").ProjectError, match="MLproject cannot be used"):
            joining.entry_points()
    file.unlink()
    with pytest.raises(load("common.errors").ProjectError, match="MLproject cannot be used"):
        joining.entry_points()


@pytest.mark.parametrize("entry_point", ["main", "own", "script.py"])
def test_a_run_that_mlflow_run_has_just_made_is_joined(
    joining: ModuleType, store: Any, monkeypatch: pytest.MonkeyPatch, entry_point: str
) -> None:
    run_id = invite(store, monkeypatch, PROJECT | {"mlflow.project.entryPoint": entry_point})
    assert joining.invited().info.run_id == run_id
    assert joining.invited().info.run_id == run_id, "asked twice"


def test_a_command_of_this_package_vouches_for_its_run(
    joining: ModuleType, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`just run` marks its run as alive, and `just verify` hands its own on to a training."""
    tags = PROJECT | {"repro.alive": "host path", "mlflow.project.entryPoint": "verify"}
    run_id = invite(store, monkeypatch, tags)
    monkeypatch.setenv(joining.VOUCHED, run_id)
    assert joining.invited().info.run_id == run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv(joining.VOUCHED, "0" * 32)
    assert joining.invited() is None


STALE: dict[str, Callable[[Any, str], object]] = {
    "is FINISHED": lambda store, run_id: store.set_terminated(run_id),
    "is KILLED": lambda store, run_id: store.set_terminated(run_id, "KILLED"),
    "was deleted": lambda store, run_id: store.delete_run(run_id),
    "another training": lambda store, run_id: store.set_tag(run_id, "repro.seed", "1"),
    "not made by `mlflow run`": lambda store, run_id: store.set_tag(run_id, "mlflow.source.type", "LOCAL"),
    "not made by `mlflow run` for": lambda store, run_id: store.set_tag(run_id, "repro.alive", "host path"),
    "the entry point 'verify'": lambda store, run_id: store.set_tag(run_id, "mlflow.project.entryPoint", "verify"),
    "another experiment": lambda *_: os.environ.update(MLFLOW_EXPERIMENT_ID="7"),
    "than MLFLOW_EXPERIMENT_ID": lambda *_: os.environ.pop("MLFLOW_EXPERIMENT_ID"),
}


@pytest.mark.parametrize("why", STALE)
def test_any_other_run_is_left_alone_with_a_notice(
    joining: ModuleType, store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], why: str
) -> None:
    run_id = invite(store, monkeypatch)
    STALE[why](store, run_id)
    before = store.get_run(run_id).to_dictionary()
    assert joining.invited() is None
    said = capsys.readouterr().err
    assert run_id in said and why in said and len(said.splitlines()) == 1
    assert not any(name in os.environ for name in joining.NAMES), "a child would take it for its own"
    assert store.get_run(run_id).to_dictionary() == before


@pytest.mark.parametrize("run_id", ["0" * 32, "nonsense", "../../x", "a b"])
def test_a_run_that_is_not_there_is_no_error(
    joining: ModuleType, store: Any, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert joining.invited() is None and "MLFLOW_RUN_ID" not in os.environ


def test_an_empty_variable_is_none(joining: ModuleType, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "")
    assert joining.invited() is None


@pytest.fixture(scope="module")
def proven(set_up: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project with one run, which was reproduced while the shell named it."""
    project = clone(set_up("classification"), tmp_path_factory.mktemp("proven") / "bikes")
    return project, train(project)


@pytest.mark.e2e
def test_a_stale_id_in_the_shell_overwrites_no_run(proven: tuple[Project, str]) -> None:
    project, run_id = proven
    stale = {"MLFLOW_RUN_ID": run_id, "MLFLOW_EXPERIMENT_ID": "0"}
    before = project.client().get_run(run_id).to_dictionary()
    said = project.just("train", *SMALL, "--seed", "7", **stale).stdout
    assert said.count("MLFLOW_RUN_ID") == 2 and "is FINISHED" in said  # once, with its fix
    done = project.just("reproduce", "last", **stale)
    assert "identical" in done.stdout
    replay, other, original = project.runs()
    assert original.to_dictionary() == before
    assert replay.data.tags["repro.reproduces"] == other.info.run_id != run_id
    assert {run.info.status for run in (replay, other, original)} == {"FINISHED"}
    assert len({run.info.experiment_id for run in (replay, other, original)}) == 1
    assert run_id[:8] in project.just("runs", MLFLOW_RUN_ID="0" * 32).stdout


@pytest.mark.slow
@pytest.mark.e2e
def test_a_stale_id_does_not_lead_verify_and_run_astray(proven: tuple[Project, str]) -> None:
    project, run_id = proven
    (project.path / ".env").write_text(f"MLFLOW_RUN_ID={run_id}\n")
    before = project.client().get_run(run_id).to_dictionary()
    count = len(project.runs())
    out = project.just("verify", *SMALL).stdout
    assert "identical" in out and "PYTHONHASHSEED" not in out, "what it changes on purpose is no news"
    assert "INFO mlflow" not in project.just("run", *SMALL).stdout
    (project.path / ".env").unlink()
    assert project.client().get_run(run_id).to_dictionary() == before
    assert len(project.runs()) == count + 3
