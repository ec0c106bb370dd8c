"""Exit codes: 1 means "different" and nothing else, whatever a training, the harness or a terminal does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TEMPLATE, Project

from harness import load

command_line = load("common.command_line")
errors = load("common.errors")
exit_codes = load("common.exit_codes")

#: What a training does, and what a person reads of it.
FAILING = {
    "an exception": ("raise ValueError('mine')", "ValueError: mine"),
    "an exception without a line": ("raise SystemError", "SystemError"),
    "a permission": ("raise PermissionError(13, 'mine', 'f')", "PermissionError"),
    "a full disk": ("import errno; raise OSError(errno.ENOSPC, 'mine')", "OSError: [Errno 28] mine"),
    "a pipe": ("raise BrokenPipeError(32, 'mine')", "BrokenPipeError"),
    "an end of file": ("raise EOFError('mine')", "EOFError: mine"),
    "recursion": ("f = lambda: f()\n    f()", "RecursionError"),
    "memory": ("raise MemoryError", "MemoryError"),
    "a group": ("raise ExceptionGroup('several', [ValueError('mine'), KeyError('k')])", "ValueError: mine"),
    "a callback of a library": ("import functools; functools.reduce(lambda a, b: 1 / 0, [1, 2])", "ZeroDivisionError"),
    "a chain": ("try:\n        1 / 0\n    except Exception as e:\n        raise KeyError('k') from e", "direct cause"),
    "one of click": ("import click; raise click.UsageError('mine')", "UsageError: mine"),
    "the end by click": ("import click; raise click.exceptions.Exit(0)", "Exit: 0"),
    "an exit with text": ("import sys; sys.exit('mine')", "sys.exit('mine')"),
    "an exit with 0": ("import sys; sys.exit(0)", "train.py, line 2"),
    "an exit with 1": ("raise SystemExit(1)", "sys.exit(1)"),
    "an exit by argparse": ("import argparse; argparse.ArgumentParser().parse_args(['--mine'])", "sys.exit(2)"),
    "a store": ("import mlflow.exceptions; raise mlflow.exceptions.MlflowException('mine')", "MlflowException: mine"),
    "a message that fails": (
        "class E(Exception):\n        def __str__(self): raise ValueError\n    raise E",
        "exception str() failed",
    ),
}


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[], int]]:
    """Give the training of a project whose root is this test's folder."""
    monkeypatch.setattr(command_line, "ROOT", tmp_path)
    monkeypatch.setattr(command_line.tempfile, "tempdir", str(tmp_path))

    def make(body: str) -> Callable[[], int]:
        file = tmp_path / "train.py"
        file.write_text(f"def train():\n    {body}\n")
        space: dict[str, Callable[[], int]] = {}
        exec(compile(file.read_text(), str(file), "exec"), space)
        return space["train"]

    return make


def ended(body: Callable[[], int | None]) -> int:
    with pytest.raises(SystemExit) as caught:
        command_line.command_line(body)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(("body", "said"), FAILING.values(), ids=FAILING.keys())
def test_a_training_that_fails_is_3_with_its_own_traceback(
    body: str, said: str, train: Callable[[str], Callable[[], int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(train(body)) == 3
    output = capsys.readouterr().err
    assert said in output
    assert "sys.exit" in said or "line 2" in said or ("Traceback" in output and "in train" in output)
    assert "command_line.py" not in output, "the harness's own frames help nobody"


def test_an_error_with_cause_and_fix_is_3_where_the_training_raised_it(
    train: Callable[[str], Callable[[], int]], capsys: pytest.CaptureFixture[str]
) -> None:
    body = f"from {errors.__name__} import ProjectError; raise ProjectError('mine', 'this', 1)"
    assert ended(train(body)) == 3
    assert capsys.readouterr().err == "error: mine\nfix: this\n"


def refuse(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


def test_what_the_harness_raises_is_told_by_its_kind(
    train: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(lambda: None) == 0
    assert ended(lambda: 1) == 1
    assert ended(refuse(SystemExit(1))) == 1  # a verdict
    assert ended(refuse(errors.ProjectError("c", "f", 64))) == 64
    assert ended(refuse(KeyboardInterrupt())) == 130
    assert ended(refuse(BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError()]))) == 130
    capsys.readouterr()
    for error in (OSError(28, "full"), FileNotFoundError(2, "gone", "f"), MemoryError(), TimeoutError("late")):
        assert ended(refuse(error)) == 3
        assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.glob("*-fault-*"))
    for error in (TypeError("x" * 5000), RecursionError(), ExceptionGroup("g", [OSError(28, "full")])):
        assert ended(refuse(error)) == 70
        said = capsys.readouterr().err
        [file] = tmp_path.glob("*-fault-*.txt")
        assert str(file) in said and "Traceback" not in said and len(said) < 1000
        assert "Traceback" in file.read_text() and type(error).__name__ in file.read_text()
        file.unlink()


def test_a_fault_that_no_file_can_keep_is_printed(
    train: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command_line.tempfile, "tempdir", str(tmp_path / "gone"))
    assert ended(refuse(TypeError("mine"))) == 70
    assert "Traceback" in capsys.readouterr().err


def test_the_projects_readme_and_justfile_name_the_codes_that_there_are() -> None:
    readme = (TEMPLATE / "template" / "README.md.jinja").read_text("utf-8")
    table = re.findall(r"^\| ([a-z ]+) \|.*\| (\d+) \|$", readme, re.MULTILINE)
    assert {verdict: int(code) for verdict, code in table} == exit_codes.EXIT_CODES
    [sentence] = re.findall(r"Exit codes: (.*?)\.\n", readme, re.DOTALL)
    told = {int(number): meaning.strip() for number, meaning in re.findall(r"\b(\d+) ([^,]+)", sentence)}
    codes = {name: getattr(exit_codes, name) for name in ("FAILED", "USAGE", "FAULT", "INTERRUPTED")}
    assert told.keys() == {*exit_codes.EXIT_CODES.values(), *codes.values()}
    assert {name: told[code].partition(" (")[0] for name, code in codes.items()} == {
        "FAILED": "an error or a training\nthat failed",
        "USAGE": "wrong usage",
        "FAULT": "a fault of the harness",
        "INTERRUPTED": "interrupted",
    }
    justfile = (TEMPLATE / "template" / "justfile").read_text("utf-8")
    assert set(re.findall(r"exit (\d+)", justfile)) == {str(exit_codes.FAILED)}


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from harness import load
def body():
    for _ in range(20_000): print("line ☃")
    sys.stderr.write("done")
    return 1
load("common.command_line").command_line(body)
"""


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ('"$@" | head -1; exit ${PIPESTATUS[0]}', 1),
        ('"$@" 2>&1 | head -1; exit ${PIPESTATUS[0]}', 1),
        ('"$@" | true; exit ${PIPESTATUS[0]}', 1),
        ('"$@" >&-', 1),
        ('"$@" > /dev/null 2>&-', 1),
        ('PYTHONIOENCODING=ascii "$@" > /dev/null', 1),
        ('PYTHONUNBUFFERED=1 "$@" | head -1; exit ${PIPESTATUS[0]}', 1),
        ('"$@" > /dev/full', 3),
    ],
)
def test_a_verdict_outlives_whoever_reads_it(shell: str, code: int) -> None:
    scripts = Path(__file__).resolve().parents[1] / "scripts"
    command = ["bash", "-c", shell, "bash", sys.executable, "-c", SCRIPT, str(scripts)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


# --- Replays and commands ---------------------------------------------------------


def test_a_training_that_is_started_gets_no_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = load("randomness.launch")
    monkeypatch.setattr(launch.FRAMEWORK, "thread_variables", ("TF_NUM_INTRAOP_THREADS",))
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MLFLOW_RUN_ID", "MINE"):
        monkeypatch.setenv(name, "7")
    found = launch.child("MLFLOW_")
    assert found["MINE"] == "7"
    assert not {"OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MLFLOW_RUN_ID"} & found.keys()


@pytest.mark.parametrize("end", ["sys.exit(1)", "os._exit(1)", "os.kill(os.getpid(), 9)", "os.abort()", "1 / 0"])
def test_a_replay_that_dies_is_no_verdict(end: str, tmp_path: Path) -> None:
    replay, shell = load("proof.replay"), load("common.shell")
    with (tmp_path / "log").open("wb") as output:
        code = shell.run([sys.executable, "-c", f"import os, sys; {end}"], tmp_path, dict(os.environ), output)
    assert code
    with pytest.raises(errors.ProjectError) as caught:
        replay._refuse(code, tmp_path / "log", replay.OF_FILES.format("/tmp/store"))
    assert caught.value.exit_code == 3 and "\nIf it names a file in /tmp/store: " in caught.value.fix


@pytest.mark.parametrize(
    "arguments",
    [
        "runs --limit 0",
        "runs --limit x",
        "runs --verdict x'",
        "compare a",
        "reproduce",
        "predict a",
        "data add",
        "ui 7",
    ],
)
def test_wrong_usage_is_64(arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["just", *arguments.split()])
    with pytest.raises(errors.ProjectError) as caught:
        load("cli.main").run_command(None)
    assert caught.value.exit_code == 64


def test_help_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["just", "train", "--help"])
    assert load("cli.main").run_command(None) == 0


def test_a_store_that_refuses_is_an_error_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    def connect() -> str:
        raise MlflowException("no room for you")

    monkeypatch.setattr(load("store.tracking"), "connect", connect)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setattr(sys, "argv", ["just", "runs"])
    with pytest.raises(errors.ProjectError, match="no room for you") as caught:
        load("cli.main").run_command(None)
    assert caught.value.exit_code == 3


@pytest.mark.e2e
def test_recipes_exit_as_the_table_says(project: Project) -> None:
    for recipe in ("reproduce", "compare", "predict", "promote", "data-add"):
        assert project.just(recipe, check=False).returncode == 64
    file = project.path / "bikes" / "train.py"
    text = file.read_text("utf-8")
    file.write_text(text.replace("    table = run", "    raise OSError(28, 'of mine')\n    table = run"), "utf-8")
    done = project.just("train", check=False)
    assert done.returncode == 3 and "OSError: [Errno 28] of mine" in done.stdout
    assert "command_line.py" not in done.stdout and "free disk space" not in done.stdout.lower()
    file.write_text("import sys\nsys.exit(1)\n", "utf-8")
    done = project.just("train", check=False)
    assert done.returncode == 3 and "sys.exit(1)" in done.stdout


# --- GPUs ------------------------------------------------------------------------

FINE = "NVIDIA H100 80GB HBM3, 570.86.15"


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (f"#!/bin/sh\necho '{FINE}'\necho '{FINE}'", [FINE, FINE]),
        ("#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not communicate, at all'; exit 9", []),
        (f"#!/bin/sh\necho '{FINE}'; exit 15", []),
        ("#!/bin/sh\necho 'No devices were found'", []),
        ("#!/bin/sh\nprintf '\\377\\376'", []),
        ("#!/bin/sh\n", []),
        ("#!/bin/sh\nsleep 60 & sleep 60", []),
        ("not a program\0", []),
        ("#!/nowhere/sh\n", []),
    ],
)
def test_only_a_gpu_is_a_gpu(script: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = load("common.gpus")
    file = tmp_path / "nvidia-smi"
    file.write_text(script)
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpus, "PATIENCE", 0.5)
    gpus.gpus.cache_clear()
    assert gpus.gpus() == found
    file.chmod(0o644)
    gpus.gpus.cache_clear()
    assert gpus.gpus() == []
