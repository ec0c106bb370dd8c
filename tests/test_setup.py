"""`just setup` never leaves less than there was, and who works in an environment is not deprived of it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Project, refused
from test_environment import (
    DEADLINE,
    add_look,
    assert_as_locked,
    entries,
    environments,
    installed,
    site_packages,
    with_wrong_hash,
)

import harness

LOCKED = ("certifi", "click", "packaging")


@pytest.fixture
def tiny(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose locks have three packages only, set up with a cache of its own: some tests poison it."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("constraints.txt", "constraints-dev.txt"):
        locked = entries(project.path / name)
        (project.path / name).write_text("".join(locked[package] for package in LOCKED), "utf-8")
    (project.path / ".venv").unlink()
    project.just("setup", UV_LINK_MODE="hardlink")
    return project


def works(project: Project) -> bool:
    return "Usage:" in project.just("train", "--help", check=False).stdout


def left_over(project: Project) -> list[str]:
    return [path.name for path in project.path.glob(".venv.*") if path.is_dir()]


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < end and process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.02)


def start(project: Project, *command: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=project.path,
        env=os.environ | variables,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextlib.contextmanager
def in_use(environment: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in an environment."""
    program = (
        "import pathlib, sys, time\n"
        f"sys.path.insert(0, {str(harness.FOLDER.parents[2] / 'scripts')!r})\nimport harness\n"
        f"harness.load('environment.in_use').hold(pathlib.Path({str(environment)!r}))\n"
        "print('holds', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "holds\n"
        try:
            yield process
        finally:
            process.kill()


# --- Nothing less than there was --------------------------------------------------


@pytest.mark.e2e
def test_a_setup_that_fails_or_dies_leaves_the_former_environment(tiny: Project, tmp_path: Path) -> None:
    lock = tiny.path / "constraints-dev.txt"
    whole = lock.read_bytes()
    with_wrong_hash(lock, "click")
    message = refused(tiny.just("setup", check=False))
    assert ".venv is as it was" in message and "git diff constraints-dev.txt" in message
    lock.write_bytes(whole)
    assert works(tiny) and not left_over(tiny)

    # A uv that hangs when the packages are to be installed.
    tools, reached, real = tmp_path / "tools", tmp_path / "reached", shutil.which("uv")
    tools.mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tools / "uv").write_text(
        f'#!/bin/sh\ncase "$*" in *pip\\ sync*) touch "{reached}"; exec cat "{tmp_path}/fifo";; esac\n'
        f'exec "{real}" "$@"\n'
    )
    (tools / "uv").chmod(0o755)
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    # As `just setup` does it, but without `uv run`, which may put the real uv's folder before this one's.
    command = [sys.executable, "-E", "-m", "bikes.reproducibility.environment.setup", "--python", "3.11"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process = start(tiny, *command, PATH=path)
        wait_for(reached.exists, process)
        os.killpg(process.pid, number)
        process.communicate(timeout=60)
        assert process.returncode
        assert works(tiny), number
        reached.unlink()
    tiny.just("setup")
    assert works(tiny) and not left_over(tiny)
    assert_as_locked(tiny.path / ".venv", lock)


@pytest.mark.e2e
def test_a_setup_killed_between_the_two_renames_is_taken_back_even_if_the_next_one_fails(tiny: Project) -> None:
    (tiny.path / ".venv").rename(tiny.path / ".venv.old")
    with_wrong_hash(tiny.path / "constraints-dev.txt", "click")
    refused(tiny.just("setup", check=False))
    assert installed(tiny.path / ".venv") and not left_over(tiny)


@pytest.mark.e2e
def test_the_scripts_of_an_environment_work_after_it_was_put_in_place(tiny: Project) -> None:
    script = site_packages(tiny.path / ".venv").parents[2] / "bin" / "activate"
    done = tiny.run("sh", "-c", f'. "{script}" && python -c "import sys; print(sys.prefix)"')
    assert Path(done.stdout.strip()).samefile(tiny.path / ".venv")
    assert ".venv.new" not in (tiny.path / ".venv" / "pyvenv.cfg").read_text()


def test_a_venv_that_cannot_be_renamed_is_refilled_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = harness.load("environment.setup")
    for name in ("VENV", "NEW", "OLD"):
        monkeypatch.setattr(setup, name, tmp_path / name)
    (tmp_path / "VENV" / "lib").mkdir(parents=True)
    (tmp_path / "VENV" / "lib" / "former.py").touch()
    (tmp_path / "NEW").mkdir()
    (tmp_path / "NEW" / "python").symlink_to(sys.executable)

    def rename(self: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")  # as a container's volume

    monkeypatch.setattr(Path, "rename", rename)
    setup._swap()
    assert [path.name for path in (tmp_path / "VENV").iterdir()] == ["python"]
    assert (tmp_path / "VENV" / "python").is_symlink()


# --- uv's cache, poisoned through hard links ----------------------------------------


@pytest.mark.e2e
def test_a_certificate_added_to_certifi_is_healed_and_the_right_way_is_named(tiny: Project) -> None:
    bundle = site_packages(tiny.path / ".venv") / "certifi" / "cacert.pem"
    if bundle.stat().st_nlink == 1:
        pytest.skip("uv makes no hard links here")
    with bundle.open("a") as file:
        file.write("# a company's\n")
    for words in ("just setup", "export SSL_CERT_FILE="):
        assert words in refused(tiny.just("train", check=False))
    message = refused(tiny.just("setup", check=False, UV_OFFLINE="1", UV_LINK_MODE="hardlink"))
    assert "uv's cache was changed too" in message and "when the index can be reached" in message
    assert "SSL_CERT_FILE" in message and works(tiny) is False
    done = tiny.just("setup", UV_LINK_MODE="hardlink")
    assert "Repairing it" in done.stdout and "export SSL_CERT_FILE=" in done.stdout
    assert_as_locked(tiny.path / ".venv", tiny.path / "constraints-dev.txt")
    assert "Repairing it" not in tiny.just("setup", UV_LINK_MODE="hardlink").stdout
    assert works(tiny)


# --- In use -------------------------------------------------------------------------


def test_an_environment_that_nobody_may_write_needs_no_lock(tmp_path: Path) -> None:
    harness.load("environment.in_use").hold(tmp_path / "gone")


def test_who_waits_for_himself_does_not_wait(tmp_path: Path) -> None:
    in_use = harness.load("environment.in_use")
    in_use.hold(tmp_path)
    in_use.hold(tmp_path)
    with in_use.alone(tmp_path):
        pass


@pytest.mark.e2e
def test_setup_waits_for_who_works_in_venv_and_answers_ctrl_c(tiny: Project) -> None:
    former = (tiny.path / ".venv").stat().st_ino
    with in_use(tiny.path / ".venv") as one, in_use(tiny.path / ".venv"):
        setup = start(tiny, "just", "setup")
        assert setup.stdout
        for line in setup.stdout:
            if WAITING.search(line):
                break
        one.kill()  # the system takes its lock back; the other's is left
        time.sleep(0.6)
        assert setup.poll() is None
        os.killpg(setup.pid, signal.SIGINT)
        assert setup.wait(30) == 130
        assert (tiny.path / ".venv").stat().st_ino == former and not left_over(tiny)
        setup = start(tiny, "just", "setup")
        assert setup.stdout and any(WAITING.search(line) for line in setup.stdout)
    assert setup.wait(60) == 0
    assert (tiny.path / ".venv").stat().st_ino != former


@pytest.mark.e2e
def test_an_environment_in_which_a_training_runs_is_neither_rebuilt_nor_deleted(tiny: Project, tmp_path: Path) -> None:
    add_look(tiny)
    root = tmp_path / "envs"
    tools = Project(tiny.path)  # mlflow, which builds, is not among the three packages: the tests' own builds
    environment = build(tools, root)
    (site_packages(environment) / "planted.py").write_text("")
    with in_use(environment):
        process = start(tiny, sys.executable, "-c", READY, MLFLOW_ENV_ROOT=str(root))
        assert process.stdout and any(WAITING.search(line) for line in process.stdout)
        assert (site_packages(environment) / "planted.py").exists()
    assert process.wait(60) == 0
    assert not (site_packages(environment) / "planted.py").exists()
    with in_use(environment):
        process = start(tiny, sys.executable, "-c", DELETE, MLFLOW_ENV_ROOT=str(root))
        assert process.stdout and any(WAITING.search(line) for line in process.stdout)
        assert environments(root) == [environment]
    assert process.wait(60) == 0
    assert environments(root) == []


WAITING = re.compile("waiting for the environment .*, which is locked by process .*; as long as it takes")
OWN = "from bikes.reproducibility.environment import mlflow_environment as own"
READY = f"{OWN}; print(own.ready())"
DELETE = f"{OWN}; own.delete(own.current())"


def build(project: Project, root: Path) -> Path:
    done = project.run(sys.executable, "-c", READY, MLFLOW_ENV_ROOT=str(root))
    return Path(done.stdout.splitlines()[-1])


@pytest.mark.e2e
def test_a_project_of_an_older_release_waits_for_a_build_and_is_waited_for(tiny: Project, tmp_path: Path) -> None:
    root = tmp_path / "envs"
    environment = build(tiny, root)
    with contextlib.closing(sqlite3.connect(f"{environment}.lock", isolation_level=None)) as theirs:
        theirs.execute("BEGIN EXCLUSIVE")
        process = start(tiny, sys.executable, "-c", DELETE, MLFLOW_ENV_ROOT=str(root))
        assert process.stdout and any("waiting for the right to make" in line for line in process.stdout)
        assert environment.exists()
    assert process.wait(60) == 0
    assert not environment.exists()
