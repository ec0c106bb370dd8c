"""Runs in containers: what an engine is told, what nobody sees, how they end; and the same with real engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_git import commit

import harness

start = harness.load("containers.start")
capture = harness.load("source.capture").capture
differences = harness.load("proof.differences")
Engine = harness.load("containers.engine").Engine
Image = harness.load("containers.image").Image
ProjectError = harness.load("common.errors").ProjectError

IMAGE = Image("sha256:1", "bikes:1", "python@sha256:2", "docker 1", "legacy builder 1", "sha256:3", "")
#: An engine that writes down what it was given, and what was handed over.
FAKE = """\
#!{python}
import json, sys
from pathlib import Path

handed = next(word for word in sys.argv if word.endswith("target=/run/repro,readonly")).split(",")[1][7:]
environment = Path(handed, "environment")
told = {{"words": sys.argv[1:], "environment": environment.read_bytes().decode(), "mode": environment.stat().st_mode}}
Path({file!r}).write_text(json.dumps(told))
sys.exit({code})
"""
#: The first process of a container, where something else is its folder.
ENTER = """\
import runpy, sys
from pathlib import Path

enter = runpy.run_path(sys.argv[1])
enter["main"].__globals__["FOLDER"] = Path(sys.argv[2])
sys.exit(enter["main"](sys.argv[3:]))
"""


def engine(tmp_path: Path, code: int = 0, **about: Any) -> Any:
    program = tmp_path / "engine"
    program.write_text(FAKE.format(python=sys.executable, file=str(tmp_path / "told"), code=code))
    program.chmod(0o755)
    return Engine(**{"name": "docker", "program": str(program), "version": "1", "rootless": False, "info": {}} | about)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """These engines know an image by its ID, and this machine has no GPU."""
    monkeypatch.setattr(start, "known_as", lambda engine, number: number)
    monkeypatch.setattr(start, "gpus", list)


@pytest.fixture
def told(tmp_path: Path) -> Any:
    """Start a container of an engine that only writes down what it is given."""
    commit(tmp_path / "bikes", code__py="C = 1\n")
    code = capture(tmp_path / "bikes")

    def go(mounts: Any = (), about: dict[str, Any] | None = None, **variables: str) -> Any:
        asked = engine(tmp_path, **(about or {}))
        assert start.run(asked, IMAGE, ["train"], start.environment(variables), code, mounts) == 0
        return SimpleNamespace(**json.loads((tmp_path / "told").read_text()))

    return go


def test_no_secret_is_in_what_the_engine_is_told(told: Any) -> None:
    secret = "correct-horse-battery"
    given = told(MLFLOW_TRACKING_PASSWORD=secret, DATABRICKS_TOKEN=secret, OWN_FLAG="1")
    assert secret not in json.dumps(given.words)
    pairs = given.environment.split("\0")
    assert {f"MLFLOW_TRACKING_PASSWORD={secret}", f"DATABRICKS_TOKEN={secret}", "OWN_FLAG=1"} <= {*pairs}
    assert given.mode & 0o077 == 0


def test_what_names_places_of_this_machine_stays_here() -> None:
    here = dict.fromkeys(
        [
            "PATH",
            "HOME",
            "TMPDIR",
            "LD_LIBRARY_PATH",
            "LC_ALL",
            "LANG",
            "XDG_CACHE_HOME",
            "UV_CACHE_DIR",
            "DOCKER_HOST",
        ],
        "x",
    )
    there = dict.fromkeys(["TZ", "TERM", "COLUMNS", "NO_COLOR", "HTTPS_PROXY", "MLFLOW_EXPERIMENT_NAME", "PATHS"], "x")
    assert start.environment(here | there).items() - {("USER", "root"), ("LOGNAME", "root")} >= there.items()
    assert not here.keys() & start.environment(here | there).keys()


@pytest.mark.parametrize(
    ("address", "shared"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://ada:secret@localhost:5000/x", True),
        ("http://[::1]:5000", True),
        ("https://mlflow.example.com/127.0.0.1", False),
        ("sqlite:////localhost/mlflow.db", False),
        ("databricks", False),
    ],
)
def test_the_network_is_this_machines_where_something_is_on_loopback(told: Any, address: str, shared: bool) -> None:
    assert ("--network=host" in told(MLFLOW_TRACKING_URI=address).words) is shared


def test_a_container_is_its_callers_and_can_change_nothing_of_the_image(told: Any) -> None:
    words = told().words
    assert f"--user={os.getuid()}:{os.getgid()}" in words
    assert {"--rm", "--read-only", "--pull=never", "--security-opt=no-new-privileges"} <= {*words}
    assert words[-4:] == ["sha256:1", "python", start.ENTER, "train"]
    assert "--tty" not in words, "no terminal is here"
    rootless = told(about={"name": "podman", "rootless": True}).words
    assert "--userns=keep-id" in rootless and not any(word.startswith("--user=") for word in rootless)
    assert "--user=0:0" in told(about={"rootless": True}).words


def test_gpus_are_passed_on_where_there_are_any(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--gpus=all" not in told().words
    monkeypatch.setattr(start, "gpus", lambda: ["NVIDIA H100, 570.1"])
    assert "--gpus=all" in told().words
    assert "--device=nvidia.com/gpu=all" in told(about={"name": "podman"}).words
    assert "--gpus=all" not in told(CUDA_VISIBLE_DEVICES="").words


def test_a_path_with_a_comma_is_mounted_as_it_is(told: Any, tmp_path: Path) -> None:
    strange = tmp_path / 'a,b "c"'
    words = told([start.Mount(strange, Path("/app/data")), start.Mount(strange, writable=True)]).words
    quoted = str(strange).replace('"', '""')
    assert f'type=bind,"source={quoted}",target=/app/data,readonly' in words
    assert f'type=bind,"source={quoted}","target={quoted}"' in words


@pytest.mark.parametrize("code", [125, 126, 127, 137])
def test_what_the_engine_refuses_is_an_error_with_a_fix(tmp_path: Path, code: int) -> None:
    commit(tmp_path / "bikes", code__py="C = 1\n")
    with pytest.raises(ProjectError) as refused:
        start.run(engine(tmp_path, code), IMAGE, ["train"], {}, capture(tmp_path / "bikes"), [])
    assert refused.value.exit_code == 3 and refused.value.fix


@pytest.mark.parametrize("code", [0, 1, 3, 7, 64, 130])
def test_the_exit_code_of_what_runs_is_passed_on(tmp_path: Path, code: int) -> None:
    commit(tmp_path / "bikes", code__py="C = 1\n")
    assert start.run(engine(tmp_path, code), IMAGE, ["train"], {}, capture(tmp_path / "bikes"), []) == code


def entering(tmp_path: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    start.write_environment(tmp_path, variables)
    script = Path(start.__file__).parent / "enter.py"
    words = [sys.executable, "-c", ENTER, str(script), str(tmp_path), *command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, errors="surrogateescape")


@pytest.mark.parametrize(
    ("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("exit 0", 0), ("sleep 0.01 & exit 5", 5)]
)
def test_the_first_process_ends_as_its_command_does(tmp_path: Path, script: str, code: int) -> None:
    assert entering(tmp_path, "sh", "-c", script).wait(60) == code


def test_the_first_process_sets_what_was_handed_over(tmp_path: Path) -> None:
    value = "two\nlines = ünï \udcff"
    command = ("sh", "-c", 'umask; printf "%s" "$SECRET"; ! env | grep UMASK')
    process = entering(tmp_path, *command, SECRET=value, REPRO_UMASK="077")
    assert process.communicate(timeout=60)[0] == f"0077\n{value}"
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_process_passes_signals_on(tmp_path: Path, number: signal.Signals) -> None:
    script = f'import signal, sys; signal.signal({int(number)}, lambda *_: sys.exit(42)); print("ready", flush=True)\n'
    process = entering(tmp_path, sys.executable, "-c", script + "while True: signal.pause()")
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(60) == 42
    process.stdout.close()


def test_another_image_is_named_as_a_difference() -> None:
    def causes(a: dict[str, str], b: dict[str, str]) -> list[str]:
        sides = []
        for container in (a, b):
            environment = {"packages": {}, "python": "3", "precision": {}, "cpu_features": [], "blas": []}
            environment |= {"variables": {}, "gpu": [], "libc": "", "machine": ""}
            environment |= {"container": container} if container else {}
            content = {"data": {}, "code": {"modules": {"a": "b"}}, "environment": environment, "launch": {}}
            sides.append(SimpleNamespace(content=content, conf={}))
        return [found.cause for found in differences.differences(*sides)]

    one = {"image": "sha256:1", "contents": "sha256:c"}
    assert causes(one, one) == causes({}, {}) == []
    assert causes(one, {}) == causes(one, {"image": "sha256:2", "contents": ""}) == ["image"]
    assert causes(one, {"image": "sha256:2", "contents": "sha256:c"}) == [], "equal contents, built twice"
    assert causes(one, {"image": "sha256:2", "contents": "sha256:d"}) == ["image"]
