"""The ways in which a plain `copier update` loses edits: shown on a naive template, and harmless with ours.

Each trap is a template of two versions and a project of the first. The naive template loses; with the pattern of
CONTRIBUTING.md the same update by Copier alone does not; and `just template-update` does not even with the naive one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TEMPLATE
from updates import commit, git, run_copier, set_git

from copier_mlflow import merge, update

pytestmark = pytest.mark.e2e
ANSWERS = {"{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers | to_nice_yaml -}}\n"}
LONG = "".join(f"line {number}\n" for number in range(20))


@dataclass(frozen=True)
class Trap:
    """A change of a template, an edit of a user's, and the pattern that keeps it.

    Parameters
    ----------
    old, new : dict
        copier.yml (a text) and files of the two versions.
    pattern : dict
        What the second version (and, for files of the user's, the first) has in its copier.yml besides.
    edit : callable
        What the user does.
    kept : callable
        Whether it is still there.
    answers : dict
        Answers that change with the update.
    git : dict
        Settings of the user's git.
    """

    old: dict[str, str | bytes]
    new: dict[str, str | bytes]
    edit: Callable[[Path], Any]
    kept: Callable[[Path], bool]
    pattern: str = ""
    always: bool = False
    answers: dict[str, str] = field(default_factory=dict)
    git: dict[str, str] = field(default_factory=dict)


def append(name: str, text: str = "mine\n") -> Callable[[Path], Any]:
    return lambda project: (project / name).write_text((project / name).read_text("utf-8") + text, "utf-8")


def has(name: str, text: str = "mine\n") -> Callable[[Path], bool]:
    return lambda project: (project / name).exists() and text.encode() in (project / name).read_bytes()


def answer(name: str, value: Any) -> Callable[[Path], bool]:
    return lambda project: yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8")).get(name) == value


def exclude(*paths: str) -> str:
    rows = [f"""  - "{{% if _copier_operation == 'update' %}}{path}{{% endif %}}"\n""" for path in paths]
    return "_exclude:\n" + "".join(rows)


def seed(path: str) -> str:
    return f"_skip_if_exists:\n  - {path}\n" + exclude(path)


FEATURE = "feature:\n  type: str\n  default: 'on'\n"
SWITCHED = {"copier.yml": FEATURE, "{{ 'feature.txt' if feature == 'on' }}": LONG}
LEVEL = "level:\n  type: str\n  default: low\n  choices: [{}]\n"
SHOW = {"level.txt.jinja": "{{ level }}\n"}
TRAPS = {
    "the template deletes a file": Trap(
        {"gone.txt": LONG, "a": "1\n"}, {"a": "2\n"}, append("gone.txt"), has("gone.txt"), exclude("/gone.txt")
    ),
    "the template renames a file": Trap(
        {"old.txt": LONG}, {"new.txt": LONG}, append("old.txt"), has("old.txt"), exclude("/old.txt")
    ),
    "the template empties most of a folder": Trap(
        {"rooms/gone.py": LONG, "rooms/__init__.py": "1\n"},
        {"rooms/__init__.py": "2\n"},
        append("rooms/gone.py"),
        lambda project: has("rooms/gone.py")(project) and has("rooms/__init__.py", "2\n")(project),
        exclude("/rooms/*.py", "!/rooms/__init__.py"),
    ),
    "an answer switches a file off": Trap(
        SWITCHED,
        SWITCHED | {"a": "2\n"},
        append("feature.txt"),
        has("feature.txt"),
        exclude("/feature.txt"),
        True,
        answers={"feature": "off"},
    ),
    "a binary was edited": Trap(
        {"logo.png": b"\x89PNG\0old"},
        {"logo.png": b"\x89PNG\0new"},
        lambda project: (project / "logo.png").write_bytes(b"\x89PNG\0mine"),
        has("logo.png", "mine"),
        seed("/logo.png"),
        True,
    ),
    "a text that git takes for binary": Trap(
        {"data.csv": LONG, ".gitattributes": "*.csv -diff\n"},
        {"data.csv": LONG.replace("line 3\n", "three\n"), ".gitattributes": "*.csv -diff\n"},
        append("data.csv"),
        has("data.csv"),
        seed("/data.csv"),
        True,
    ),
    "the user's git ignores a file of the template's": Trap(
        {"notes.txt": LONG},
        {"notes.txt": LONG.replace("line 3\n", "three\n")},
        append("notes.txt"),
        has("notes.txt"),
        seed("/notes.txt"),
        True,
        git={"core.excludesFile": "ignored"},
    ),
    "the user's git refuses trailing spaces": Trap(
        {"notes.txt": LONG},
        {"notes.txt": LONG.replace("line 3\n", "three\n")},
        append("notes.txt", "mine   \n"),
        has("notes.txt", "mine   \n"),
        seed("/notes.txt"),
        True,
        git={"apply.whitespace": "error"},
    ),
    "a lock that both sides changed": Trap(
        {"lock.txt": "a==1\n" + LONG + "b==1\n"},
        {"lock.txt": "a==1\n" + LONG + "b==2\n"},
        lambda project: (project / "lock.txt").write_text("a==3\n" + LONG + "b==1\n", "utf-8"),
        lambda project: (project / "lock.txt").read_text("utf-8") == "a==3\n" + LONG + "b==1\n",
        seed("/lock.txt"),
        True,
    ),
    "a choice that is no more": Trap(
        {"copier.yml": LEVEL.format("low, high"), **SHOW},
        {"copier.yml": LEVEL.format("low, top"), **SHOW},
        lambda project: None,
        has("level.txt", "top\n"),
        "level:\n  type: str\n  choices: [low, top]\n"
        "  default: \"{{ 'top' if _copier_answers.get('level') == 'high' else 'low' }}\"\n",
    ),
    "a question that was renamed": Trap(
        {"copier.yml": LEVEL.format("low, high"), **SHOW},
        {"copier.yml": LEVEL.format("low, high").replace("level", "grade"), "level.txt.jinja": "{{ grade }}\n"},
        lambda project: None,
        has("level.txt", "high\n"),
        "level:\n  type: str\n  when: false\n  default: \"{{ _copier_answers.get('level', 'low') }}\"\n"
        'grade:\n  type: str\n  choices: [low, high]\n  default: "{{ level }}"\n',
    ),
    "a question that is no more": Trap(
        {"copier.yml": "mark:\n  type: str\n  default: x\n", "f.txt.jinja": LONG + "{{ mark }}\n"},
        {"copier.yml": "", "f.txt.jinja": LONG.replace("line 3\n", "three\n") + "x\n"},
        append("f.txt"),
        has("f.txt"),
    ),
}
#: What Copier 9.19 by itself loses without a word, exit code 0; the others it only gets wrong in the answers.
LOSES = set(TRAPS) - {"a question that is no more"}


def commit_version(folder: Path, files: dict[str, str | bytes], extra: str, tag: str) -> None:
    """Commit a version of a template; what `extra` asks replaces the question of the same name."""
    git(folder, "rm", "--quiet", "-r", "--ignore-unmatch", ".")
    config = {**yaml.safe_load(str(files.get("copier.yml", "")) or "{}"), **yaml.safe_load(extra or "{}")}
    (folder / "copier.yml").write_text(
        yaml.safe_dump({**config, "_subdirectory": "template"}, sort_keys=False), "utf-8"
    )
    for name, content in ({**files, **ANSWERS}).items():
        if name != "copier.yml":
            path = folder / "template" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    commit(folder, tag)
    git(folder, "tag", tag)


def begin(trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_pattern: bool) -> Path:
    """A project of the first version, edited, of a template that has a second one, under the user's git settings."""
    source = tmp_path / "template"
    source.mkdir()
    git(source, "init", "--quiet")
    commit_version(source, trap.old, trap.pattern if with_pattern and trap.always else "", "1.0.0")
    asks = "level:" in str(trap.old.get("copier.yml", ""))
    data = ["--data=level=high"] if asks else []
    project = tmp_path / "project"
    done = run_copier("copy", "--quiet", "--defaults", *data, str(source), str(project), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    commit_version(source, trap.new, trap.pattern if with_pattern else "", "2.0.0")
    git(project, "init", "--quiet")
    commit(project)
    trap.edit(project)
    commit(project, "Edit")
    (tmp_path / "ignored").write_text("*.txt\n", "utf-8")
    named = {"ignored": str(tmp_path / "ignored")}
    set_git(monkeypatch, {name: named.get(value, value) for name, value in trap.git.items()})
    return project


def update_by_copier(trap: Trap, project: Path) -> None:
    data = [f"--data={name}={value}" for name, value in trap.answers.items()]
    done = run_copier("update", "--quiet", "--defaults", *data, cwd=project)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOSES))
def test_copier_alone_loses_it_in_silence_from_a_naive_template(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = TRAPS[name]
    project = begin(trap, tmp_path, monkeypatch, with_pattern=False)
    update_by_copier(trap, project)
    assert not trap.kept(project)
    assert git(project, "ls-files", "--unmerged") == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, trap in TRAPS.items() if trap.pattern])
def test_copier_alone_keeps_it_with_the_pattern_of_the_contract(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = TRAPS[name]
    project = begin(trap, tmp_path, monkeypatch, with_pattern=True)
    update_by_copier(trap, project)
    assert trap.kept(project)


#: A lock merges cleanly, as any text does: only one that is the user's is safe. Answers have tests of their own.
MERGED = [name for name, trap in TRAPS.items() if "lock" not in name and "level" not in trap.old.get("copier.yml", "")]


@pytest.mark.parametrize("name", MERGED)
def test_template_update_keeps_it_even_from_a_naive_template(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = TRAPS[name]
    project = begin(trap, tmp_path, monkeypatch, with_pattern=False)
    prepared = update.prepare(project, None, trap.answers)
    merge.write(project, merge.results(prepared.changes))
    assert trap.kept(project)


@pytest.mark.parametrize("name", ["a choice that is no more", "a question that was renamed"])
@pytest.mark.parametrize("with_pattern", [False, True])
def test_template_update_tells_of_an_answer_that_changes(
    name: str, with_pattern: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = TRAPS[name]
    project = begin(trap, tmp_path, monkeypatch, with_pattern=with_pattern)
    prepared = update.prepare(project)
    told = "\n".join(prepared.answers)
    if name == "a choice that is no more":
        assert told == f"level: {'top' if with_pattern else 'low'!r} instead of 'high'"
    else:
        assert told.startswith(f"grade: {'high' if with_pattern else 'low'!r}, a new question")
    merge.write(project, merge.results(prepared.changes))
    assert trap.kept(project) == with_pattern


def test_every_pattern_is_worked_in_the_guide_for_contributors() -> None:
    guide = (TEMPLATE / "CONTRIBUTING.md").read_text("utf-8")
    blocks = [yaml.safe_load(block.split("```")[0]) for block in guide.split("```yaml\n")[1:]]
    patterns = [yaml.safe_load(trap.pattern) for trap in TRAPS.values() if trap.pattern]
    assert blocks
    assert [block for block in blocks if block not in patterns] == []
