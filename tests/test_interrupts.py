"""A run that is ended from outside is marked so, never left RUNNING, and leaves no process behind."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Project

pytestmark = pytest.mark.e2e

#: A training that tells its process and then only waits to be interrupted.
WAITING = """\
import os
import signal
from pathlib import Path


def train(settings, run):
    Path(os.environ["READY"]).write_text(str(os.getpid()))
    while True:
        signal.pause()
"""


def slow(value: str) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.02)


def members(group: int) -> list[int]:
    """The living processes of a process group; those that only wait to be reaped are dead."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


@contextmanager
def started(project: Project, *command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, as a terminal starts it."""
    process = subprocess.Popen(
        command,
        cwd=project.path,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def status(project: Project) -> str | None:
    """The status of the only run, asked as often as one likes: without MLflow, which takes its time."""
    try:
        with closing(sqlite3.connect(f"file:{project.path / 'mlflow.db'}?mode=ro", uri=True)) as store:
            [row] = store.execute("SELECT status FROM runs").fetchall() or [(None,)]
    except sqlite3.OperationalError:  # no database yet, or no tables in it
        return None
    return row[0]


def send(process: subprocess.Popen[str], how: str) -> None:
    match how:
        case "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        case "Ctrl-C twice":
            os.killpg(process.pid, signal.SIGINT)
            os.killpg(process.pid, signal.SIGINT)
        case "SIGTERM to just":
            os.kill(process.pid, signal.SIGTERM)
        case "SIGTERM to all":
            os.killpg(process.pid, signal.SIGTERM)


def assert_killed(project: Project, process: subprocess.Popen[str]) -> None:
    output = process.communicate(timeout=60)[0]
    wait_for(lambda: not members(process.pid), "no process is left", 20)
    assert process.returncode != 0
    # An interpreter that has not come to any code yet, the project's or Python's own, ends with its own words.
    output = re.sub(
        r"(Could not import runpy module|Fatal Python error: init_).*?\nKeyboardInterrupt\n",
        "",
        output,
        flags=re.DOTALL,
    )
    assert "Traceback" not in output, output
    [run] = project.runs()
    assert run.info.status == "KILLED", output
    assert run.info.end_time is not None


@pytest.mark.parametrize("recipe", ["train", "run"])
@pytest.mark.parametrize("how", [slow("Ctrl-C"), "Ctrl-C twice", "SIGTERM to just", slow("SIGTERM to all")])
def test_an_ended_training_is_marked_killed(project: Project, tmp_path: Path, recipe: str, how: str) -> None:
    ready = tmp_path / "ready"
    (project.path / "bikes" / "train.py").write_text(WAITING)
    with started(project, "just", recipe, READY=str(ready)) as process:
        wait_for(lambda: process.poll() is not None or (ready.exists() and ready.read_text()), "the training has begun")
        assert process.poll() is None, process.communicate()[0]
        assert status(project) == "RUNNING"
        send(process, how)
        assert_killed(project, process)


@pytest.mark.parametrize(
    ("recipe", "how"),
    [
        ("train", "Ctrl-C"),
        pytest.param("train", "SIGTERM to just", marks=pytest.mark.slow),
        pytest.param("run", "Ctrl-C", marks=pytest.mark.slow),
        ("run", "SIGTERM to just"),
    ],
)
def test_a_run_ended_in_its_first_moment_is_marked_killed(
    project: Project, tmp_path: Path, recipe: str, how: str
) -> None:
    (project.path / "bikes" / "train.py").write_text(WAITING)
    with started(project, "just", recipe, READY=str(tmp_path / "ready")) as process:
        wait_for(lambda: process.poll() is not None or status(project), "the store has the run")
        assert process.poll() is None, process.communicate()[0]
        send(process, how)
        assert_killed(project, process)
