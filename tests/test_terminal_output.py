"""What a person reads in the terminal, of 80 columns: held to texts that a person approved.

`just approve` writes them anew into tests/approved/; `git diff tests/approved` is then what is to be reviewed.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pyte
import pytest
import yaml
from conftest import Project, clone

pytestmark = pytest.mark.e2e

APPROVED = Path(__file__).parent / "approved"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-9](;[0-9]+)*m")
#: What is waited for: it is taken away again, but a person sees it.
WAIT = re.compile(r"[\u2801-\u28ff]\x1b\[0m ([^\x1b]+?) \x1b")
#: What differs from one machine and one day to the next, and what stands for it: of the same width, as tables have it.
MOVING = (
    (re.compile(r"/\S+(?=/mlflow-[0-9a-f]{40})"), lambda found: "ENVIRONMENTS"),
    (re.compile(r"(?<=Nothing to delete in )\S+"), lambda found: "ENVIRONMENTS."),
    (re.compile(r"(?<=building the wheel in )\S+wheel-\w+"), lambda found: "SCRATCH"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b"), lambda found: "0" * len(found[0])),
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?"), lambda found: re.sub(r"\d", "0", found[0])),
    (re.compile(r"\d\.\d{7,}"), lambda found: "0.0"),
    (re.compile(r"\d+\.\d+(\.\d+)?"), lambda found: re.sub(r"\d", "0", found[0])),
    (re.compile(r"\d+ GB free"), lambda found: "0 GB free"),
    (re.compile(r"(?m)^(ok   (?:git|uv|just): )\S+"), lambda found: f"{found[1]}PATH"),
    (re.compile(r"(?m)^ok   shell: .*\n"), lambda found: ""),
    (re.compile(r"\d+/min"), lambda found: "0/min"),
)
#: Lines of exact numbers, which another processor may give one digit more.
EXACT = re.compile(r"(?m)^.*\d\.\d{7,}.*$")
SWEEP = "--config small.yaml --set model.n_estimators=5 --workers 1"
#: In this order, in one project, by the names of their texts.
EVERYDAY = {
    "card": "just",
    "list": "just --list",
    "doctor": "just doctor",
    "train": "just train",
    "reproduce-dry-run": "just reproduce last --dry-run",
    "reproduce": "just reproduce last",
    "verify": "just verify",
    "run": "just run",
    "runs": "just runs",
    "compare": "just compare last last",
    "lineage": "just lineage last --no-picture",
    "promote-refused": "just promote 0000",
    "train-misspelt": "just train --set model.max_dept=3",
    "data-add": "just data-add more.csv",
    "data-check": "just data-check",
    "help": ".venv/bin/python -m bikes --help",
}
#: The same of those that are typed less often; {first} is the run of a training before them, which was verified.
RARER = {
    "promote": "just promote {first}",
    "predict": "just predict champion data/breast_cancer.csv",
    "compare-different": "just compare {first} last --explain",
    "pipeline": "just pipeline --fresh",
    "pipeline-again": "just pipeline",
    "step-unknown": "just step split",
    "sweep": f"just sweep {SWEEP}",
    "sweep-again": "just sweep --resume last",
    "seeds": "just seeds 2 --set model.n_estimators=5 --workers 1",
    "folds": "just folds 2 --set model.n_estimators=5 --workers 1",
    "runs-of-none": "just runs --verdict equivalent",
    "lock": "just lock --only build",
    "package": "just package-build",
    "package-verify": "just package-verify",
    "clean-envs": "just clean-envs",
    "relocate": "just relocate",
    "server-none": "just server-up",
    "wrong-usage": "just predict",
}


def typed(project: Project, command: str, columns: int = 80, **variables: str) -> str:
    """What a terminal is sent by a command."""
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command.split(),
        cwd=project.path,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "GIT_PAGER": "cat"} | variables,
    )
    os.close(terminal)
    parts = []
    try:
        while part := os.read(shown, 65536):
            parts.append(part)
    except OSError:  # the other side is closed: that is how a terminal ends
        pass
    process.wait()
    os.close(shown)
    return b"".join(parts).decode()


def still(sent: str, project: Project) -> str:
    """Give what is waited for and what a terminal shows in the end, with what does not move in the place of what does.

    Its lines are as long as they are sent: where a terminal breaks them depends on the length of paths.
    """
    screen = pyte.Screen(1000, 400)
    pyte.Stream(screen).feed(sent)
    lines = [line.rstrip() for line in screen.display]
    text = "\n".join([*(f"... {what}" for what, _ in groupby(WAIT.findall(sent))), *lines]).rstrip()
    text = text.replace(str(project.path), "PROJECT").replace(str(Path.home()), "~")
    text = EXACT.sub(lambda found: re.sub(" +", " ", found[0]), text)
    for moving, fixed in MOVING:
        text = moving.sub(fixed, text)
    return f"{text}\n"


@pytest.fixture(scope="module")
def project(set_up: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = clone(set_up("classification"), tmp_path_factory.mktemp("terminal") / "bikes")
    project.git("config", "core.hooksPath", ".githooks")
    (project.path / "more.csv").write_text("rides,weather\n1,rain\n20,sun\n", "utf-8")
    small = yaml.safe_load((project.path / "confs" / "sweep.yaml").read_text("utf-8")) | {"trials": 4, "batch": 2}
    (project.path / "small.yaml").write_text(yaml.safe_dump(small), "utf-8")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "More")
    project.just("run")  # builds the environment, of which uv tells at length
    return project


@pytest.fixture(scope="module")
def shown(project: Project) -> dict[str, str]:
    """What every command of the everyday showed."""
    return {name: typed(project, command) for name, command in EVERYDAY.items()}


def verified(project: Project) -> str:
    """Train and reproduce, and give the run."""
    project.just("train", "--id-file", ".first")
    first = (project.path / ".first").read_text("utf-8")
    project.just("reproduce", first)
    return first


def require_approved(texts: dict[str, str], commands: dict[str, str], project: Project) -> None:
    found = {name: f"$ {commands[name]}\n{still(text, project)}" for name, text in texts.items()}
    if "APPROVE" in os.environ:
        APPROVED.mkdir(exist_ok=True)
        for name, text in found.items():
            (APPROVED / f"{name}.txt").write_text(text, "utf-8")
    for name, text in found.items():
        assert text == (APPROVED / f"{name}.txt").read_text("utf-8"), f"just approve, and read git diff: {name}"


def test_what_is_shown_is_what_was_approved(project: Project, shown: dict[str, str]) -> None:
    require_approved(shown, EVERYDAY, project)


@pytest.mark.slow
def test_what_the_rarer_commands_show_is_what_was_approved(project: Project) -> None:
    first = verified(project)
    project.just("train", "--set", "model.max_depth=2")
    texts = {name: typed(project, command.replace("{first}", first)) for name, command in RARER.items()}
    require_approved(texts, RARER, project)


def test_every_approved_text_is_of_a_command() -> None:
    assert {file.stem for file in APPROVED.glob("*.txt")} == EVERYDAY.keys() | RARER.keys()


def test_no_digest_is_broken_by_the_end_of_a_line(shown: dict[str, str]) -> None:
    for name, text in shown.items():
        long = re.findall(r"(?<![.\w])[0-9a-f]{13,}\b", text)
        assert [own for own in long if len(own) not in (32, 40, 64)] == [], name


def test_colours_are_for_terminals_that_want_them(project: Project, shown: dict[str, str]) -> None:
    assert COLOUR.search(shown["reproduce"])
    assert not COLOUR.search(typed(project, "just runs", NO_COLOR="1"))
    assert not ESCAPES.search(project.just("runs").stdout)
