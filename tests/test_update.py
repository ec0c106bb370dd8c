"""From every release to HEAD: no line of a user's is lost, and what nobody edited is as freshly rendered."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE
from updates import EDITS, HEAD, RELEASES, commit, find_module, git, is_yours, lost_lines, renewed, tree

import releases
from copier_mlflow import merge, update
from copier_mlflow.errors import ProjectError

pytestmark = pytest.mark.e2e

#: The oldest release in the fast tests, the others in the slow ones.
FROM = [RELEASES[0], *(pytest.param(version, marks=pytest.mark.slow) for version in RELEASES[1:])]


def edited(render: Callable[..., Path], version: str, edit: str, destination: Path, **answers: str) -> Path:
    """A project of a version in which every text file of the template's was edited."""
    shutil.copytree(render(version, **answers), destination)
    owned = [name for name in tree(destination) if not is_yours(name) and name != ".copier-answers.yml"]
    before = tree(destination)
    EDITS[edit](destination, owned)
    if edit in {"head", "middle", "end", "crlf"}:
        same = [name for name in owned if (destination / name).read_bytes() == before[name]]
        assert not same, f"the edit passed over {same}"
    commit(destination, "Edit")
    assert git(destination, "status", "--porcelain") == ""
    return destination


def apply(project: Path, **answers: str) -> Any:
    """Update without what comes after the merge: locks and checks."""
    update.require_clean(project)
    prepared = update.prepare(project, None, answers)
    merge.write(project, merge.results(prepared.changes))
    merge.mark(project, prepared.changes)
    return prepared


def test_the_history_gives_at_least_three_releases_and_no_shallow_clone_passes(tmp_path: Path) -> None:
    assert len(RELEASES) >= 3
    git(TEMPLATE, "clone", "--quiet", "--depth", "1", TEMPLATE.as_uri(), str(tmp_path / "shallow"))
    with pytest.raises(ValueError, match="shallow"):
        releases.find(tmp_path / "shallow")


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("version", FROM)
def test_no_line_of_a_users_is_lost(render: Callable[..., Path], version: str, edit: str, tmp_path: Path) -> None:
    base = tree(render(version))
    project = edited(render, version, edit, tmp_path / "bikes")
    before = tree(project)
    modes = {name: (project / name).stat().st_mode & 0o100 for name in before}
    prepared = apply(project)
    after = tree(project)

    assert lost_lines(base, before, after) == {}
    for name, content in before.items():
        if is_yours(name) or name not in base:
            assert after[name] == content, f"{name} is the user's"
    unmerged = {line.split("\t")[1] for line in git(project, "ls-files", "--unmerged").splitlines()}
    marked = {name for name, content in after.items() if b"<<<<<<< yours" in content}
    assert marked == unmerged == {change.path for change in prepared.changes if change.kind == "conflicting"}
    fresh = tree(renewed(render, version))
    match edit:
        case "nothing":
            assert prepared.open == []
            owned = {name: content for name, content in after.items() if not is_yours(name)}
            assert owned == {name: content for name, content in fresh.items() if not is_yours(name)}
        case "deleted" | "moved":
            assert {"MLproject", "justfile"} - after.keys() == {"MLproject" if edit == "deleted" else "justfile"}
            kinds = {change.path: change.kind for change in prepared.changes}
            doctor = find_module(render(version), "doctor").relative_to(render(version)).as_posix()
            assert doctor not in after
            if doctor in fresh and base[doctor] != fresh[doctor]:
                assert kinds[doctor] == ("removed" if edit == "deleted" else "moved")
            assert unmerged == set()
        case "crlf":
            assert unmerged == set()
            names = {name for name in base if changeable(name, fresh)} - {".gitattributes"}
            assert all(after[name] == fresh[name].replace(b"\n", b"\r\n") for name in names)
        case "executable":
            assert unmerged == set()
            assert all(after[name] == fresh[name] for name in base if changeable(name, fresh))
            assert {name for name in modes if modes[name] and name in after} == {
                name for name in before if name in after and (project / name).stat().st_mode & 0o100
            }
    if marked:
        done = subprocess.run(["git", "commit", "--all", "--message", "x"], cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, "`--all` takes markers for a resolution; the check before a commit must not"
        # As `just check` looks; the justfile itself may be among those with markers, or broken by the edit.
        [pattern] = re.findall(r"git grep -I -l -E '([^']+)'", (TEMPLATE / "template" / "justfile").read_text("utf-8"))
        assert set(git(project, "grep", "-I", "-l", "-E", pattern).splitlines()) == marked
    else:
        subprocess.run(update.undo(project), shell=True, check=True)
        assert tree(project) == before
        assert git(project, "status", "--porcelain") == ""


def changeable(name: str, fresh: dict[str, bytes]) -> bool:
    return not is_yours(name) and name in fresh and name != ".copier-answers.yml"


def test_after_a_conflict_the_undo_brings_everything_back(render: Callable[..., Path], tmp_path: Path) -> None:
    project = edited(render, RELEASES[0], "head", tmp_path / "bikes")
    before = tree(project)
    assert any(change.kind == "conflicting" for change in apply(project).changes)
    subprocess.run(update.undo(project), shell=True, check=True)
    assert tree(project) == before
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("version", FROM)
def test_an_answer_that_changes_takes_no_edit_away(render: Callable[..., Path], version: str, tmp_path: Path) -> None:
    project = edited(render, version, "end", tmp_path / "bikes")
    before = tree(project)
    prepared = apply(project, ci="gitlab", python_version="3.12")
    after = tree(project)
    assert lost_lines(tree(render(version)), before, after) == {}
    kinds = {change.path: change.kind for change in prepared.changes}
    assert kinds[".github/workflows/ci.yml"] == "kept"
    assert kinds[".gitlab-ci.yml"] == "new"
    assert b'python: "3.12"' in after["python_env.yaml"]
    assert "ci: 'gitlab' instead of 'github'" in prepared.answers


def test_an_unedited_file_that_an_answer_switches_off_is_deleted(render: Callable[..., Path], tmp_path: Path) -> None:
    project = edited(render, RELEASES[-1], "nothing", tmp_path / "bikes")
    workflows = {f".github/workflows/{file.name}" for file in (project / ".github" / "workflows").iterdir()}
    prepared = apply(project, ci="none")
    assert {change.path for change in prepared.changes if change.kind == "deleted"} == workflows
    assert not (project / ".github").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("framework", "pytorch"),
        ("task", "regression"),
        ("package_name", "cars"),
        ("seed", "7"),
        ("license", "BSD-3-Clause"),
    ],
)
def test_an_answer_that_cannot_change_is_refused_with_its_reason(
    render: Callable[..., Path], name: str, value: str, tmp_path: Path
) -> None:
    project = edited(render, RELEASES[-1], "nothing", tmp_path / "bikes")
    with pytest.raises(ProjectError, match=f"{name} stays .*: .{{20,}}") as refused:
        update.prepare(project, None, {name: value})
    assert refused.value.exit_code == 64
    assert git(project, "status", "--porcelain") == ""


def test_a_misspelt_answer_is_refused(render: Callable[..., Path], tmp_path: Path) -> None:
    project = edited(render, RELEASES[-1], "nothing", tmp_path / "bikes")
    with pytest.raises(ProjectError, match="no question python_verison"):
        update.prepare(project, None, {"python_verison": "3.12"})


def test_every_release_is_reached_from_the_one_before(render: Callable[..., Path], tmp_path: Path) -> None:
    project = edited(render, RELEASES[0], "nothing", tmp_path / "bikes")
    for version in [*RELEASES[1:], HEAD]:
        prepared = update.prepare(project, version)
        merge.write(project, merge.results(prepared.changes))
        commit(project, version)
    fresh = tree(renewed(render, RELEASES[0]))
    owned = {name: content for name, content in tree(project).items() if not is_yours(name)}
    assert owned == {name: content for name, content in fresh.items() if not is_yours(name)}
    assert update.prepare(project) is None
    with pytest.raises(ProjectError, match="is older than"):
        update.prepare(project, RELEASES[0])


def test_the_changelog_between_two_versions_is_shown(render: Callable[..., Path], tmp_path: Path) -> None:
    project = edited(render, RELEASES[0], "nothing", tmp_path / "bikes")
    news = update.prepare(project).news
    version = tomllib.loads((TEMPLATE / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert [f"## [{known}]" in news for known in [RELEASES[0], *RELEASES[1:]]] == [False, *[True] * len(RELEASES[1:])]
    assert f"## [{version}]" in news
    assert "]: .." not in news
