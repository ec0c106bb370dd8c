"""The questions as a person is asked them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import copier
import pexpect
import pytest
import yaml
from conftest import QUESTIONS
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

ENTER, DOWN, CLEAR = "\r", "\x1b[B", "\x15"
ASKED = [name for name, question in QUESTIONS.items() if question.get("when") is not False]

# A question too many or too few would wait for ever.
pytestmark = pytest.mark.timeout(60)


def typed(text: str) -> str:
    """The keys that replace the suggested answer."""
    return CLEAR + text + ENTER


def answer(questions: Path, destination: Path, keys: dict[str, str], **options: bool) -> dict[str, Any]:
    """Press keys at the questions, Enter where none are given, and read what was understood."""
    asked = [name for name in ASKED if name != "tracking_uri" or "tracking_uri" in keys]
    assert keys.keys() <= set(asked)
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text("".join(keys.get(name, ENTER) for name in asked))
        copier.run_copy(str(questions), destination, quiet=True, **options)
    answers: dict[str, Any] = yaml.safe_load((destination / ".copier-answers.yml").read_text("utf-8"))
    return answers


def test_enter_alone_takes_every_default(questions: Path, tmp_path: Path) -> None:
    answers = answer(questions, tmp_path / "my bikes", {})
    assert answers.pop("_src_path") == str(questions)
    assert answers == {
        "project_name": "my bikes",
        "package_name": "my_bikes",
        "description": QUESTIONS["description"]["default"],
        "author_name": "",
        "author_email": "",
        "license": "MIT",
        "framework": "scikit-learn",
        "task": "classification",
        "python_version": "3.11",
        "seed": 42,
        "container": "docker",
        "tracking": "local",
        "ci": "github",
        "updates": "none",
    }


def test_every_question_takes_what_is_typed_or_chosen(questions: Path, tmp_path: Path) -> None:
    keys = {
        "project_name": typed("Zoë's Räder"),
        "package_name": typed("raeder"),
        "description": typed('"Räder": 100% #1'),
        "author_name": typed("Zoë O'Hara"),
        "author_email": typed("zoe@example.com"),
        "license": DOWN * 3 + ENTER,
        "task": DOWN + ENTER,
        "python_version": typed("3.12.1"),
        "seed": typed("0"),
        "tracking": DOWN + ENTER,
        "tracking_uri": typed("https://mlflow.example.com/a"),
        "ci": DOWN * 2 + ENTER,
    }
    answers = answer(questions, tmp_path / "bikes", keys)
    assert {name: value for name, value in answers.items() if name in keys} == {
        "project_name": "Zoë's Räder",
        "package_name": "raeder",
        "description": '"Räder": 100% #1',
        "author_name": "Zoë O'Hara",
        "author_email": "zoe@example.com",
        "license": "Proprietary",
        "task": "regression",
        "python_version": "3.12.1",
        "seed": 0,
        "tracking": "server",
        "tracking_uri": "https://mlflow.example.com/a",
        "ci": "none",
    }
    assert (tmp_path / "bikes" / "raeder" / "__main__.py").exists()


def test_package_name_is_suggested_from_the_project_name_that_was_typed(questions: Path, tmp_path: Path) -> None:
    assert answer(questions, tmp_path / "x", {"project_name": typed("Café 2024")})["package_name"] == "cafe_2024"


@pytest.mark.parametrize(("steps", "tracking"), [(0, "local"), (1, "server"), (2, "databricks")])
def test_address_is_asked_for_only_where_there_is_a_server(
    steps: int, tracking: str, questions: Path, tmp_path: Path
) -> None:
    # Were the address asked for, or not, against what is said here, then the next keys would answer another question.
    keys = {"tracking": DOWN * steps + ENTER, "ci": DOWN + ENTER}
    address = {"tracking_uri": typed("http://10.0.0.1:5000")} if tracking == "server" else {}
    answers = answer(questions, tmp_path / "bikes", keys | address)
    assert (answers["tracking"], answers["ci"]) == (tracking, "gitlab")
    assert answers.get("tracking_uri") == ("http://10.0.0.1:5000" if address else None)


@pytest.mark.parametrize(
    ("name", "refused", "taken"),
    [
        ("project_name", "{{ 7 }}", "Bikes"),
        ("package_name", "random", "bikes"),
        ("description", "{% if %}", "Bikes."),
        ("author_email", "ada", "ada@example.com"),
        ("seed", "-1", 7),
        ("seed", "many", 7),
        ("python_version", "3.10", "3.13"),
    ],
)
def test_refused_answer_is_asked_again(name: str, refused: str, taken: Any, questions: Path, tmp_path: Path) -> None:
    answers = answer(questions, tmp_path / "bikes", {name: typed(refused) + typed(str(taken))})
    assert answers[name] == taken


def test_the_name_of_the_package_stays(questions: Path, tmp_path: Path) -> None:
    answer(questions, tmp_path / "bikes", {})
    again = {"package_name": typed("cars") + typed("bikes"), "author_name": typed("Ada")}
    answers = answer(questions, tmp_path / "bikes", again, overwrite=True)
    assert (answers["package_name"], answers["author_name"]) == ("bikes", "Ada")


def test_person_at_a_terminal_sees_help_and_refusals_and_gets_a_project(questions: Path, tmp_path: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "copier", "copy", str(questions), "bikes"],
        cwd=str(tmp_path),
        env=os.environ | {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"},
        dimensions=(50, 250),
        encoding="utf-8",
        timeout=30,
    )
    mistakes = {
        "project_name": ("a/b", "Slashes, braces and control characters", "My Bikes"),
        "package_name": ("mlflow", "The name mlflow is taken", "bikes"),
        "author_email": ("ada@", "That is not an e-mail address", "ada@example.com"),
        "python_version": ("3.11.x", "or an exact patch", "3.12"),
        "seed": ("4294967296", "A whole number from 0 to 4294967295", "0"),
        "tracking_uri": ("https://ada:secret@example.com", "without credentials", "https://example.com"),
    }
    try:
        for name in ASKED:
            child.expect_exact(QUESTIONS[name]["help"].split("? ")[0])
            if name in mistakes:
                refused, message, taken = mistakes[name]
                child.send(typed(refused))
                child.expect_exact(message)
                child.send(typed(taken))
            else:
                child.send(DOWN + ENTER if name == "tracking" else ENTER)
        child.expect(pexpect.EOF)
    finally:
        child.close()
    assert child.exitstatus == 0
    assert re.search(r"My Bikes is ready\. Next:", str(child.before))
    answers = yaml.safe_load((tmp_path / "bikes" / ".copier-answers.yml").read_text("utf-8"))
    assert {name: str(answers[name]) for name in mistakes} == {name: taken for name, (_, _, taken) in mistakes.items()}


def test_interrupted_questionnaire_renders_nothing(questions: Path, tmp_path: Path) -> None:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(ENTER * 4 + "\x03")
        with pytest.raises(KeyboardInterrupt):
            copier.run_copy(str(questions), tmp_path / "bikes", quiet=True)
    assert not (tmp_path / "bikes").exists()
