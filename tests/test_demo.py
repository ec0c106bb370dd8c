"""`just demo`: what a stranger sees first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEMPLATE, Project

import demo

RUN = {
    "status": "FINISHED",
    "metrics": {"accuracy": 0.9577464788732394, "f1": 0.1 + 0.2},
    "tags": {"repro.result": "sha256:aa", "repro.data": '{"iris": "sha256:bb"}', "repro.environment": "sha256:cc"},
}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A copy of the template repository, uncommitted work included."""
    copy = tmp_path / "copier-mlflow"
    ignored = shutil.ignore_patterns(".venv", "demo", "__pycache__", ".*_cache")
    return Path(shutil.copytree(TEMPLATE, copy, ignore=ignored))


def run_demo(template: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as `just demo` does, on a machine on whose PATH there is no `just`."""
    tools = template.parent / "tools"
    tools.mkdir(exist_ok=True)
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if not shutil.which("just", path=folder)]
    for tool in ("uv", "git"):
        found = shutil.which(tool)
        assert found, f"{tool} is needed"
        if not (tools / tool).exists():
            (tools / tool).symlink_to(found)
    return subprocess.run(
        [sys.executable, "scripts/demo.py"],
        cwd=template,
        env=os.environ | {"PATH": os.pathsep.join([str(tools), *folders])} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
@pytest.mark.e2e
def test_the_demo_shows_two_identical_runs(template: Path) -> None:
    done = run_demo(template, MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_EXPERIMENT_NAME="elsewhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical" in done.stdout
    assert "cd demo && uvx --from rust-just just ui" in done.stdout
    assert "identical: every stage is equal to the last bit" in done.stdout
    assert len(done.stdout.splitlines()) < 50, "the output of uv and MLflow belongs into a failure's message only"
    project = Project(template / "demo")
    replayed, other, one = project.runs()
    assert one.data.metrics == other.data.metrics == replayed.data.metrics
    assert one.data.tags["repro.verdict"] == "identical"
    assert one.data.tags["repro.verified_by"] == replayed.info.run_id
    assert repr(one.data.metrics["accuracy"]) in done.stdout
    assert one.data.tags["repro.dirty"] == "false"
    assert project.git("status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.e2e
def test_the_demo_names_what_differs(template: Path) -> None:
    metrics = next(template.glob("template/*'classification'*/*/metrics.py"))
    planted = metrics.read_text("utf-8").replace(
        '"accuracy": ', '"noise": __import__("time").time(),\n        "accuracy": '
    )
    assert planted != metrics.read_text("utf-8")
    metrics.write_text(planted, "utf-8")
    done = run_demo(template)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "different: noise, result" in done.stdout
    assert "identical" not in done.stdout


def test_a_step_that_fails_shows_its_output_and_the_next_demo_replaces_what_it_left(template: Path) -> None:
    (template / "template" / "justfile").write_text("setup:\n    @echo the network is down\n    @exit 7\n")
    for _ in range(2):
        done = run_demo(template)
        assert done.returncode == 3
        assert "`just setup` gave" in done.stderr
        assert "the network is down" in done.stderr
        assert "identical" not in done.stdout


def test_a_folder_that_is_not_a_demo_is_left_alone(template: Path) -> None:
    (template / "demo").mkdir()
    (template / "demo" / "thesis.txt").write_text("years of work")
    done = run_demo(template)
    assert done.returncode == 3
    assert "was not made by `just demo`" in done.stderr
    assert [path.name for path in (template / "demo").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("how", ["edit", "commit"])
def test_a_demo_in_which_somebody_worked_is_left_alone(template: Path, how: str) -> None:
    (template / "template" / "justfile").write_text("setup:\n    @exit 7\n")
    assert run_demo(template).returncode == 3
    project = Project(template / "demo")
    (project.path / "README.md").write_text("mine")
    if how == "commit":
        project.git("commit", "--quiet", "--all", "--message", "Mine")
    done = run_demo(template)
    assert done.returncode == 3
    assert "somebody has worked in" in done.stderr
    assert (project.path / "README.md").read_text() == "mine"


def test_equal_runs_have_no_differences() -> None:
    assert demo.compare(RUN, RUN) == []
    assert "0.30000000000000004   0.30000000000000004" in demo.table(RUN, RUN)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"metrics": RUN["metrics"] | {"f1": 0.3}}, "f1"),
        ({"metrics": {"accuracy": 0.9577464788732394}}, "f1"),
        ({"tags": RUN["tags"] | {"repro.result": "sha256:ab"}}, "result"),
        ({"tags": RUN["tags"] | {"repro.data": '{"iris": "sha256:bc"}'}}, "data"),
        ({"tags": RUN["tags"] | {"repro.environment": "sha256:cd"}}, "environment"),
        ({"status": "FAILED"}, "status"),
    ],
)
def test_one_difference_is_named(change: dict[str, object], named: str) -> None:
    assert demo.compare(RUN, RUN | change) == [named]
    assert demo.compare(RUN | change, RUN) == [named]


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ({"status": "FAILED"}, "status"),
        ({"tags": {}}, "result (missing)"),
        ({"metrics": {}}, "metrics (there are none)"),
    ],
)
def test_two_runs_that_lack_the_same_are_not_identical(lost: dict[str, object], named: str) -> None:
    assert named in demo.compare(RUN | lost, RUN | lost)


def test_the_just_that_uvx_lends_is_not_taken_for_the_persons_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent, own = tmp_path / "tool" / "bin", tmp_path / "local" / "bin"
    for folder in (lent, own):
        folder.mkdir(parents=True)
        (folder / "just").write_text("#!/bin/sh\n")
        (folder / "just").chmod(0o755)
    (tmp_path / "tool" / "pyvenv.cfg").touch()
    monkeypatch.setenv("PATH", str(lent))
    assert demo.typed() == "uvx --from rust-just just"
    monkeypatch.setenv("PATH", os.pathsep.join([str(lent), str(own)]))
    assert demo.typed() == "just"
