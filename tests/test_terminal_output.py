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
from pathlib import Path

import pytest
from conftest import Project, clone

pytestmark = pytest.mark.e2e

APPROVED = Path(__file__).parent / "approved"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-9](;[0-9]+)*m")
#: What differs from one machine and one day to the next, and what stands for it: of the same width, as tables have it.
MOVING = (
    (re.compile(r"/\S+(?=/mlflow-[0-9a-f]{40})"), lambda found: "ENVIRONMENTS"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b"), lambda found: "0" * len(found[0])),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), lambda found: "0000-00-00 00:00"),
    (re.compile(r"\d\.\d{7,}"), lambda found: "0.0"),
    (re.compile(r"\d+\.\d+(\.\d+)?"), lambda found: re.sub(r"\d", "0", found[0])),
)
#: Lines of exact numbers, which another processor may give one digit more.
EXACT = re.compile(r"(?m)^.*\d\.\d{7,}.*$")
#: In this order, in one project, by the names of their texts.
COMMANDS = {
    "card": "just",
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
    "data-check": "just data-check",
    "help": ".venv/bin/python -m bikes --help",
}


def typed(project: Project, command: str, columns: int = 80, **variables: str) -> str:
    """What a terminal shows of a command."""
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command.split(),
        cwd=project.path,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(columns)} | variables,
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
    return b"".join(parts).decode().replace("\r\n", "\n")


def still(text: str, project: Project) -> str:
    """Put in the place of what moves what does not."""
    text = ESCAPES.sub("", text).replace(str(project.path), "PROJECT").replace(str(Path.home()), "~")
    text = EXACT.sub(lambda found: re.sub(" +", " ", found[0]), text)
    for moving, fixed in MOVING:
        text = moving.sub(fixed, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@pytest.fixture(scope="module")
def shown(set_up: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, str]]:
    """A project in which every command was typed, and what that showed."""
    project = clone(set_up("classification"), tmp_path_factory.mktemp("terminal") / "bikes")
    project.just("run")  # builds the environment, of which uv tells at length
    return project, {name: typed(project, command) for name, command in COMMANDS.items()}


def test_what_is_shown_is_what_was_approved(shown: tuple[Project, dict[str, str]]) -> None:
    project, texts = shown
    found = {name: f"$ {COMMANDS[name]}\n{still(text, project)}" for name, text in texts.items()}
    if "APPROVE" in os.environ:
        APPROVED.mkdir(exist_ok=True)
        for name, text in found.items():
            (APPROVED / f"{name}.txt").write_text(text, "utf-8")
    assert {file.stem for file in APPROVED.iterdir()} == found.keys()
    for name, text in found.items():
        assert text == (APPROVED / f"{name}.txt").read_text("utf-8"), f"just approve, and read git diff: {name}"


def test_no_digest_is_broken_by_the_end_of_a_line(shown: tuple[Project, dict[str, str]]) -> None:
    for name, text in shown[1].items():
        long = re.findall(r"(?<![.\w])[0-9a-f]{13,}\b", text)
        assert [own for own in long if len(own) not in (32, 40, 64)] == [], name


def test_colours_are_for_terminals_that_want_them(shown: tuple[Project, dict[str, str]]) -> None:
    project, texts = shown
    assert COLOUR.search(texts["reproduce"])
    assert not COLOUR.search(typed(project, "just runs", NO_COLOR="1"))
    assert not ESCAPES.search(project.just("runs").stdout)
