"""The three-way merge by itself: whatever anybody edits, every line that they wrote is in the result."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from updates import commit, git, tree

from copier_mlflow import merge

VERSIONS = ("1", "2")


def make(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    folder.mkdir(exist_ok=True)
    return folder


def project_of(folder: Path, files: dict[str, bytes]) -> Path:
    make(folder, files)
    git(folder, "init", "--quiet")
    git(folder, "config", "core.autocrlf", "false")
    commit(folder)
    return folder


def update(tmp: Path, old: dict[str, bytes], yours: dict[str, bytes], new: dict[str, bytes]) -> tuple[Path, list[Any]]:
    """Merge three folders, the second one a project, and give what happened to its files."""
    project = project_of(tmp / "yours", yours)
    changes = merge.plan(make(tmp / "old", old), make(tmp / "new", new), project, lambda path: False, VERSIONS)
    merge.write(project, merge.results(changes))
    merge.mark(project, changes)
    return project, changes


# --- Fuzz ---------------------------------------------------------------------
#: Few different lines, so that both sides often change the same ones; also empty ones, and a last one without end.
LINES = st.lists(st.sampled_from(["a", "b", "c", "", "    d", "}"]), max_size=12)
ENDS = st.sampled_from(["\n", "\r\n"])


@st.composite
def versions(draw: st.DrawFn) -> tuple[list[str], list[str], list[str]]:
    """A file, and two descendants of it."""
    base = draw(LINES)

    def descend(mark: str) -> list[str]:
        found = list(base)
        for number in range(draw(st.integers(0, 3))):
            place = draw(st.integers(0, len(found)))
            match draw(st.sampled_from(["insert", "delete", "replace"])):
                case "insert":
                    found.insert(place, f"{mark} {number}")
                case "delete":
                    del found[place : place + draw(st.integers(1, 3))]
                case "replace":
                    found[place : place + 1] = [f"{mark} {number}"]
        return found

    return base, descend("yours"), descend("template")


@pytest.mark.e2e
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(versions(), ENDS, st.booleans())
def test_every_line_of_both_sides_is_in_the_result(
    three: tuple[list[str], list[str], list[str]], ends: str, last: bool
) -> None:
    base, yours, new = three
    contents = ["\n".join(side) + "\n" * last for side in (base, yours, new)]
    with tempfile.TemporaryDirectory() as folder:
        mine = contents[1].replace("\n", ends).encode()
        project, changes = update(Path(folder), {"f": contents[0].encode()}, {"f": mine}, {"f": contents[2].encode()})
        result = (project / "f").read_bytes()
        rows = Counter(result.decode().replace("\r\n", "\n").split("\n"))
        for side in (yours, new):
            written = Counter(line for line in side if line.startswith(("yours", "template")))
            assert written <= rows
        conflict = [change.path for change in changes if change.kind == "conflicting"]
        assert bool(conflict) == (b"<<<<<<< yours" in result) == bool(git(project, "ls-files", "--unmerged"))
        if contents[0] == contents[1]:
            assert result.replace(b"\r\n", b"\n") == contents[2].encode()
        if contents[0] == contents[2]:
            assert result == mine
        # Taken without markers, yours are all there.
        for change in changes:
            if change.kind == "conflicting":
                kept = Counter(merge.favour_yours(change).content.decode().replace("\r\n", "\n").split("\n"))
                assert Counter(line for line in yours if line.startswith("yours")) <= kept


# --- Files and folders --------------------------------------------------------
def test_an_edited_binary_is_left_alone_and_named(tmp_path: Path) -> None:
    project, [change] = update(tmp_path, {"f": b"\0old"}, {"f": b"\0mine"}, {"f": b"\0new"})
    assert (project / "f").read_bytes() == b"\0mine"
    assert change.kind == "conflicting"
    assert "`git checkout --theirs f` takes the template's" in change.note
    git(project, "checkout", "--theirs", "f")
    assert (project / "f").read_bytes() == b"\0new"


def test_a_file_becomes_a_folder_and_a_folder_a_file(tmp_path: Path) -> None:
    old = {"x": b"1\n", "y/z": b"2\n"}
    project, changes = update(tmp_path, old, old, {"x/z": b"3\n", "y": b"4\n"})
    assert tree(project) == {"x/z": b"3\n", "y": b"4\n"}
    assert {change.kind for change in changes} == {"new", "deleted"}


@pytest.mark.parametrize("what", ["folder", "link", "parent", "ignored", "linked parent"])
def test_what_stands_in_the_way_is_left_alone_and_named(tmp_path: Path, what: str) -> None:
    project = tmp_path / "yours"
    elsewhere = make(tmp_path / "elsewhere", {"f": b"not ours\n"})
    files = {"folder": {"d/f/mine": b"1\n"}, "parent": {"d": b"1\n"}, "ignored": {".gitignore": b"d/f\n"}}.get(what, {})
    project_of(project, files)
    if what == "link":
        make(project, {"d/other": b"1\n"})
        (project / "d/f").symlink_to(elsewhere / "f")
    elif what == "linked parent":
        (project / "d").symlink_to(elsewhere)
    elif what == "ignored":
        make(project, {"d/f": b"mine, and git does not know it\n"})
    commit(project)
    before = tree(project)
    old, new = make(tmp_path / "old", {}), make(tmp_path / "new", {"d/f": b"new\n"})
    [change] = merge.plan(old, new, project, lambda path: False, VERSIONS)
    assert (change.kind, change.result) == ("blocked", None)
    assert "not written: " in change.note
    assert "+new" in merge.to_take_over(change)
    assert tree(project) == before


def test_a_full_disk_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = project_of(tmp_path / "yours", {"a": b"1\n", "b": b"1\n"})
    write = Path.write_bytes
    calls = []

    def fill_up(path: Path, content: bytes) -> int:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OSError, match="No space left"):
        merge.write(project, {"a": merge.File(b"2\n"), "b": merge.File(b"2\n"), "c": merge.File(b"2\n")})
    assert tree(project) == {"a": b"1\n", "b": b"1\n"}


def test_modes_are_merged_like_lines(tmp_path: Path) -> None:
    old, new = make(tmp_path / "old", {"a": b"1\n", "b": b"1\n"}), make(tmp_path / "new", {"a": b"1\n", "b": b"1\n"})
    (new / "a").chmod(0o755)
    project = project_of(tmp_path / "yours", {"a": b"1\n", "b": b"1\n"})
    (project / "b").chmod(0o755)
    commit(project)
    changes = merge.plan(old, new, project, lambda path: False, VERSIONS)
    merge.write(project, merge.results(changes))
    assert [(project / name).stat().st_mode & 0o777 for name in "ab"] == [0o755, 0o755]


def test_a_file_that_both_added_stands_twice_between_markers(tmp_path: Path) -> None:
    project, [change] = update(tmp_path, {}, {"f": b"mine\n"}, {"f": b"theirs\n"})
    assert (project / "f").read_text() == "<<<<<<< yours\nmine\n=======\ntheirs\n>>>>>>> template 2\n"
    assert change.note == "you had added it too"
    assert subprocess.run(["git", "commit", "-m", "x"], cwd=project, capture_output=True).returncode != 0
