"""Modules of the harness that moved: no edit is lost, and where the code is now is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, refused
from updates import EDITS, HEAD, commit, git, is_yours, lost_lines, run_copier, tree

from copier_mlflow import cli, locks, merge, moved, update

pytestmark = pytest.mark.e2e
#: A release whose harness stood on one floor.
FLAT = "0.4.0"
HARNESS = "bikes/reproducibility"


def modules(project: Path) -> set[str]:
    """The names of the modules on the floor of a harness."""
    return {path.stem for path in (project / HARNESS).glob("*.py")}


@pytest.fixture
def project(render: Callable[..., Path], tmp_path: Path) -> Path:
    """A project of that release."""
    return Path(shutil.copytree(render(FLAT), tmp_path / "bikes"))


@pytest.fixture
def moving(render: Callable[..., Path]) -> list[str]:
    """The names of its modules that are somewhere else, or nowhere, now."""
    return sorted(modules(render(FLAT)) - modules(render(HEAD)))


def edit(project: Path, names: list[str]) -> None:
    for name in names:
        path = project / HARNESS / f"{name}.py"
        path.write_text(f"{path.read_text('utf-8')}\n\n# mine, in {name}\n", "utf-8")
    commit(project, "Edit")


def test_edits_in_many_modules_that_moved_are_kept_and_told_on_one_screen(
    project: Path, moving: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    base = tree(project)
    assert len(moving) > 30
    edit(project, [*moving, "locks"])
    before = tree(project)
    prepared = update.prepare(project)
    assert prepared is not None
    notes = {Path(change.path).stem: change.note for change in prepared.of_kind(merge.Kind.RETIRED)}
    assert list(notes) == moving
    places = {
        "seeds": {"randomness/seeds.py"},
        "wheel": {"environment/wheel.py"},
        "report": {"proof/show.py"},  # its page was written anew since
        "cli": {"cli"},  # in so many modules that none has much of it
    }
    for name, there in places.items():
        assert set(notes[name].removeprefix("now in ").split(", ")) == {f"{HARNESS}/{place}" for place in there}
    assert notes["merge"] == "now in copier_mlflow/merge.py of the template's repository"
    # It stands for another one, for the sake of older updaters.
    [merged] = [change for change in prepared.changes if change.path == f"{HARNESS}/locks.py"]
    assert (merged.kind, merged.note) == ("merged", f"now in {HARNESS}/environment/locks.py")
    assert len(prepared.report().splitlines()) <= 40
    assert max(map(len, prepared.report().splitlines())) <= 120
    assert len(prepared.instructions().splitlines()) <= 24
    assert f"just template-diff --from {FLAT} FILE" in prepared.instructions()

    merge.write(project, merge.results(prepared.changes))
    after = tree(project)
    assert lost_lines(base, before, after) == {}
    assert all(after[f"{HARNESS}/{name}.py"] == before[f"{HARNESS}/{name}.py"] for name in moving)
    capfd.readouterr()
    assert cli.run(["diff", str(project), "--from", FLAT, f"{HARNESS}/seeds.py"]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert [line for line in shown if line.startswith("+")] == [
        *(f"+++ yours/{HARNESS}/seeds.py", "+", "+", "+# mine, in seeds")
    ]


@pytest.mark.parametrize("tool", ["ours", "copier"])
@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.slow
def test_no_edit_of_a_module_that_moves_is_lost(project: Path, moving: list[str], kind: str, tool: str) -> None:
    base = tree(project)
    EDITS[kind](project, [name for name in base if not is_yours(name) and name != ".copier-answers.yml"])
    commit(project, "Edit")
    before = tree(project)
    if tool == "ours":
        prepared = update.prepare(project)
        assert prepared is not None
        merge.write(project, merge.results(prepared.changes))
    else:
        done = run_copier("update", "--quiet", "--defaults", cwd=project)
        assert done.returncode == 0, done.stderr
    after = tree(project)
    assert lost_lines(base, before, after) == {}
    for name in (f"{HARNESS}/{name}.py" for name in moving):
        if name in before and (tool == "copier" or name in after):
            assert after[name] == before[name], name


def test_what_copier_by_itself_leaves_of_modules_that_moved_is_tidied_and_told(
    project: Path, moving: list[str], render: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    base = tree(project)
    edit(project, ["seeds", "merge"])
    (project / HARNESS / "digest.py").unlink()
    (project / HARNESS / "mine.py").write_text("# mine\n", "utf-8")
    commit(project, "Edit")
    before = tree(project)
    done = run_copier("update", "--quiet", "--defaults", cwd=project)
    assert done.returncode == 0, done.stderr
    assert git(project, "ls-files", "--unmerged") == ""
    after = tree(project)
    assert lost_lines(base, before, after) == {}
    assert {name for name in before if name.startswith(f"{HARNESS}/")} <= after.keys()
    assert after[f"{HARNESS}/seeds.py"] == before[f"{HARNESS}/seeds.py"]
    assert modules(render(HEAD)) <= modules(project) and f"{HARNESS}/randomness/seeds.py" in after
    assert "fix: commit what you have" in refused(Project(project).just("check", check=False))
    commit(project, "Update")

    prepared = update.prepare(project)
    assert prepared is not None and (prepared.old, prepared.new, prepared.news) == (HEAD, HEAD, "")
    kinds = {change.path: change.kind for change in prepared.changes}
    gone = {f"{HARNESS}/{name}.py": merge.Kind.DELETED for name in moving if name != "digest"}
    retired = {f"{HARNESS}/{name}.py": merge.Kind.RETIRED for name in ("merge", "seeds")}
    assert kinds == gone | retired
    assert "+# mine, in seeds" in prepared.instructions().splitlines()
    assert cli.run(["update", "--check", str(project)]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"template {HEAD}  (") and f"{len(gone) - 2} in {HARNESS}/" in said

    merge.write(project, merge.results(prepared.changes))
    assert modules(project) == modules(render(HEAD)) | {"merge", "mine", "seeds"}
    for name in ("merge", "seeds"):
        (project / HARNESS / f"{name}.py").unlink()
    commit(project, "Tidy")
    assert update.prepare(project) is None


def test_what_a_room_has_compiles_the_locks_not_what_was_kept_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("locks.py", "store/locks.py"):
        (tmp_path / HARNESS / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / HARNESS / path).write_text("")
    (tmp_path / ".copier-answers.yml").write_text("_commit: 1\n_src_path: t\npackage_name: bikes\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text('#!/bin/sh\nfor last; do :; done\necho "$last" > ran\n')
    (tmp_path / "bin" / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert locks.bring_in_step(tmp_path, None)
    assert (tmp_path / "ran").read_text() == "bikes.reproducibility.store.locks\n"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (range(0, 10), ["a"]),
        (range(0, 14), ["a", "b"]),
        (range(0, 11), ["a"]),
        (range(90, 99), []),
        (range(0), []),
    ],
)
def test_code_is_where_most_of_its_lines_are(lines: range, found: list[str]) -> None:
    def content(numbers: range) -> bytes:
        return b"import something\n" + b"".join(b"    line(number, %d)\n\n" % number for number in numbers)

    places = {"a": range(0, 10), "b": range(10, 20), "c": range(20, 60)}
    assert moved._find(content(lines), {name: moved._lines(content(there)) for name, there in places.items()}) == found
