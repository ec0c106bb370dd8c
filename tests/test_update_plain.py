"""`copier update` by itself, as people and Renovate run it: from every release to HEAD, no line is lost either."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import TEMPLATE
from updates import CONFIG, EDITS, HEAD, RELEASES, commit, git, is_yours, lost_lines, renewed, run_copier, tree

import contract
import releases

pytestmark = pytest.mark.e2e
#: What Copier by itself leaves as it is: what an answer switches.
SWITCHED = (
    *(".github/", ".gitlab-ci.yml", "renovate.json"),
    *("Dockerfile", ".dockerignore", ".devcontainer/", "tracking-server/"),
)


def begin(render: Callable[..., Path], version: str, edit: str, project: Path) -> dict[str, bytes]:
    """Edit a project of a version, and give its files."""
    shutil.copytree(render(version), project)
    EDITS[edit](project, [name for name in tree(project) if not is_yours(name) and name != ".copier-answers.yml"])
    commit(project, "Edit")
    return tree(project)


def reserved(history: Path, version: str) -> list[str]:
    """Name what a version lets no package be called, by the file that it has for that, if any."""
    return git(history, "show", f"{version}:reserved_names.txt", check=False).split()


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.slow
def test_no_line_of_a_users_is_lost(render: Callable[..., Path], version: str, edit: str, tmp_path: Path) -> None:
    base = tree(render(version))
    project = tmp_path / "bikes"
    before = begin(render, version, edit, project)
    done = run_copier("update", "--quiet", "--defaults", cwd=project)
    assert done.returncode == 0, done.stderr
    after = tree(project)
    assert lost_lines(base, before, after) == {}
    assert [name for name in after if name.endswith(".rej")] == []
    for name, content in before.items():
        if is_yours(name) or name not in base or name.startswith(SWITCHED):
            assert after[name] == content, f"{name} is left alone"
    marked = {name for name, content in after.items() if b"\n<<<<<<< before updating" in b"\n" + content}
    assert marked == {line.split("\t")[1] for line in git(project, "ls-files", "--unmerged").splitlines()}
    if edit == "nothing":
        fresh = {name: content for name, content in tree(renewed(render, version)).items() if not is_yours(name)}
        assert marked == set()
        assert {name: after[name] for name in fresh if not name.startswith(SWITCHED)} == {
            name: content for name, content in fresh.items() if not name.startswith(SWITCHED)
        }


@pytest.mark.slow
@pytest.mark.parametrize("copier", [CONFIG["_min_copier_version"], "<10"])
def test_the_oldest_and_the_newest_copier_update_alike(
    render: Callable[..., Path], copier: str, tmp_path: Path
) -> None:
    project, other = tmp_path / "bikes", tmp_path / "other"
    begin(render, RELEASES[0], "end", project)
    shutil.copytree(project, other)
    assert run_copier("update", "--quiet", "--defaults", cwd=other).returncode == 0
    wanted = f"copier{copier}" if copier.startswith("<") else f"copier=={copier}"
    command = ["uvx", "--python", sys.executable, "--from", wanted, "copier", "update", "--quiet", "--defaults"]
    done = subprocess.run(command, cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert tree(project) == tree(other)


def test_an_answer_that_changes_deletes_nothing(render: Callable[..., Path], tmp_path: Path) -> None:
    project = tmp_path / "bikes"
    before = begin(render, RELEASES[0], "end", project)
    done = run_copier("update", "--quiet", "--defaults", "--data=ci=gitlab", cwd=project)
    assert done.returncode == 0, done.stderr
    assert tree(project)[".github/workflows/ci.yml"] == before[".github/workflows/ci.yml"]
    assert lost_lines(tree(render(RELEASES[0])), before, tree(project)) == {}


def test_a_deleted_file_stays_deleted_and_edits_stay(render: Callable[..., Path], tmp_path: Path) -> None:
    """One update in the faster tests; Copier once failed wherever a file was deleted."""
    project = tmp_path / "bikes"
    begin(render, RELEASES[0], "deleted", project)
    path = project / "justfile"
    path.write_text(path.read_text("utf-8") + "\n# mine\n", "utf-8")
    commit(project, "Edit")
    done = run_copier("update", "--quiet", "--defaults", cwd=project)
    assert done.returncode == 0, done.stderr
    assert not (project / "MLproject").exists()
    assert path.read_text("utf-8").endswith("exit 3\n\n# mine\n")


@pytest.mark.slow
@pytest.mark.parametrize("version", [RELEASES[0], "the last"])
def test_a_name_that_was_reserved_later_stays_and_is_given_to_no_project_anew(
    history: Path, version: str, tmp_path: Path
) -> None:
    if version == "the last":
        version = next(known for known in reversed(RELEASES) if "pasta" not in reserved(history, known))
    project = tmp_path / "pasta"
    options = ["--quiet", "--defaults", "--data=package_name=pasta"]
    done = run_copier("copy", *options, f"--vcs-ref={version}", str(history), str(project), cwd=history)
    assert done.returncode == 0, done.stderr
    git(project, "init", "--quiet")
    commit(project)
    done = run_copier("update", "--quiet", "--defaults", "--data=package_name=numpy", cwd=project)
    assert done.returncode and "The name numpy is taken" in done.stderr
    done = run_copier("update", "--quiet", "--defaults", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "package_name: pasta" in (project / ".copier-answers.yml").read_text("utf-8")
    done = run_copier("copy", *options, f"--vcs-ref={HEAD}", str(history), str(tmp_path / "new"), cwd=history)
    assert done.returncode and "The name pasta is taken" in done.stderr


# --- What a release must keep -----------------------------------------------------------------------
def test_head_keeps_what_every_release_promised(history: Path) -> None:
    assert contract.find_problems(history, releases.find(history)) == []


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        ("retire", "justfile was in 0.1.0 and is no more"),
        ("switch", "renovate.json depends on updates"),
        ("hide", "PACKAGE/reproducibility/__init__.py is the template's, and _exclude keeps"),
        ("question", "ci was asked in 0.1.0: keep it"),
        ("task", "Copier does not know _tasks"),
        ("typo", "Copier does not know seed.defualt"),
    ],
)
def test_a_release_that_would_lose_something_is_refused(history: Path, tmp_path: Path, plant: str, said: str) -> None:
    root = tmp_path / "t"
    git(TEMPLATE, "clone", "--quiet", "--local", str(history), str(root))
    path = root / "copier.yml"
    text = path.read_text("utf-8")
    config = yaml.safe_load(text)
    match plant:
        case "retire":
            (root / "template" / "justfile").unlink()
        case "switch":
            config["_exclude"] = [pattern for pattern in config["_exclude"] if "renovate" not in pattern]
        case "hide":
            config["_exclude"].append(
                "{% if _copier_operation == 'update' %}/{{ package_name }}/reproducibility/*.py{% endif %}"
            )
        case "question":
            del config["ci"]
        case "task":
            config["_tasks"] = ["true"]
        case "typo":
            config["seed"]["defualt"] = 1
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf-8")
    commit(root, "Plant")
    problems = contract.find_problems(root, releases.find(root))
    assert any(said in problem for problem in problems), problems
