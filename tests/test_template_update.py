"""`just template-update` and its kin, as people and CI jobs type them."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TEMPLATE, Project, refused
from test_ci import Runner, Step
from updates import CONFIG, HEAD, RELEASES, commit, find_module, git, is_yours, lost_lines, run_copier, set_git, tree

from copier_mlflow import cli, errors, journal, merge, pull_request, status, template, update, updating

pytestmark = pytest.mark.e2e
LATER = "99.1.0"
#: The tool, in this environment.
TOOL = (sys.executable, "-I", str(TEMPLATE / "copier_mlflow" / "__main__.py"))


@pytest.fixture(scope="module")
def later(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with one more release: changes in three files, one of them of a dependency."""
    folder = tmp_path_factory.mktemp("later") / "t"
    shutil.copytree(history, folder)
    rendered = folder / "template"
    for path in (rendered / "MLproject.jinja", rendered / ".gitignore", find_module(rendered, "liveness")):
        path.write_text(path.read_text("utf-8") + ("\n\n" * (path.suffix == ".py")) + "# later\n", "utf-8")
    changelog = folder / "CHANGELOG.md"
    entry = f"## [Unreleased]\n\n## [{LATER}] - 2027-01-01\n\n### Changed\n\n- Said later.\n"
    changelog.write_text(changelog.read_text("utf-8").replace("## [Unreleased]\n", entry), "utf-8")
    commit(folder)
    git(folder, "tag", LATER)
    return folder


def start(source: Path | str, destination: Path, version: str = HEAD, **answers: str) -> Project:
    """Render a version of a template and commit it."""
    data = [f"--data={name}={value}" for name, value in {"package_name": "bikes", **answers}.items()]
    command = ["copy", "--quiet", "--defaults", f"--vcs-ref={version}", *data, str(source), str(destination)]
    done = run_copier(*command, cwd=destination.parent)
    assert done.returncode == 0, done.stderr
    git(destination, "init", "--quiet")
    commit(destination)
    return Project(destination)


@pytest.fixture(scope="module")
def begin(later: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Project]:
    """Copy a project for which there is a later version; it is rendered once."""
    original = start(later, tmp_path_factory.mktemp("begun") / "bikes").path
    return lambda destination: Project(Path(shutil.copytree(original, destination)))


def edit(project: Project, name: str, text: str = "# mine\n") -> None:
    path = project.path / name
    path.write_text(path.read_text("utf-8") + text, "utf-8")
    commit(project.path, "Edit")


# --- A team's year ------------------------------------------------------------
def test_an_update_from_check_to_commit(
    begin: Callable[[Path], Project], set_up: Callable[..., Project], tmp_path: Path
) -> None:
    project = begin(tmp_path / "bikes")
    (project.path / ".venv").symlink_to(set_up("classification").path / ".venv")
    project.git("config", "core.hooksPath", ".githooks")
    assert "nothing to bring" in project.just("template-update", "--to", HEAD).stdout
    assert f"files of the template's are as version {HEAD} has them" in project.just("template-diff").stdout
    edit(project, "MLproject")
    edit(project, "justfile", "\n# my recipes\n")
    edit(project, "bikes/train.py", "\n\n# mine\n")

    diff = project.just("template-diff").stdout
    assert [line for line in diff.splitlines() if line.startswith("+")] == [
        *("+++ yours/MLproject", "+# mine", "+++ yours/justfile", "+", "+# my recipes")
    ]
    assert project.just("template-diff", "--names", "justfile").stdout.splitlines()[1:] == ["M\ttemplate/justfile"]
    assert f"template: {HEAD}, and {LATER} is out: just template-update" in project.just("doctor").stdout

    checked = project.just("template-update", "--check", check=False)
    assert checked.returncode == 1
    assert f"template {HEAD} -> {LATER}" in checked.stdout
    assert "- Said later." in checked.stdout
    assert f"## [{RELEASES[-1]}]" not in checked.stdout
    assert "conflicting  MLproject" in checked.stdout
    assert "updated      2 files that you had not edited" in checked.stdout
    assert project.git("status", "--porcelain") == ""

    (project.path / "notes.txt").write_text("not committed\n")
    assert "uncommitted work: notes.txt" in refused(project.just("template-update", check=False))
    (project.path / "notes.txt").unlink()

    before = tree(project.path)
    done = project.just("template-update", check=False)
    assert done.returncode == 1
    assert "conflicting MLproject: edit what stands between the markers" in done.stdout
    assert "Left to do: what is said above of MLproject, then: just check" in done.stdout
    undo = done.stdout.partition("with what you do after it: ")[2].splitlines()[0]
    assert project.run("git", "commit", "--message", "x", check=False).returncode != 0
    project.git("add", "--all")
    said = refused(project.just("check", check=False))
    assert said.startswith("MLproject\nerror: these files have conflict markers")
    project.run("bash", "-c", undo, cwd=tmp_path)
    assert tree(project.path) == before
    assert project.git("status", "--porcelain") == ""

    project.just("template-update", check=False)
    path = project.path / "MLproject"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line[:7] not in {"<" * 7, "=" * 7, ">" * 7}), "utf-8")
    project.just("check")
    project.commit()
    assert "nothing to bring" in project.just("template-update").stdout
    assert find_module(project.path, "liveness").read_text("utf-8").endswith("# later\n")


@pytest.fixture(scope="module")
def pushed(history: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the working tree's commit in a bare repository, as `uvx --from` takes it."""
    bare = tmp_path_factory.mktemp("pushed") / "t.git"
    git(history, "clone", "--quiet", "--bare", str(history), str(bare))
    return f"git+{bare.as_uri()}@{git(history, 'rev-parse', HEAD)}"


@pytest.mark.slow
@pytest.mark.parametrize("version", RELEASES)
def test_a_project_of_any_release_is_updated_checked_and_runs(
    history: Path, pushed: str, version: str, tmp_path: Path
) -> None:
    """As somebody does it who has uv and git, and no `just`."""
    project = start(history, tmp_path / "bikes", version)
    command = ["uvx", "--python", sys.executable, "--from", pushed, "copier-mlflow", "update", str(project.path)]
    places = os.environ["PATH"].split(os.pathsep)
    without_just = os.pathsep.join(place for place in places if not Path(place, "just").exists())
    (tmp_path / "bin").mkdir()
    for name in ("uv", "uvx", "git"):
        (tmp_path / "bin" / name).symlink_to(actual(name))
    done = project.run(*command, PATH=f"{tmp_path / 'bin'}{os.pathsep}{without_just}")
    assert "Nothing is left to do" in done.stdout
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Update")  # the hook checks it once more
    project.just("run")
    [run] = project.runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["repro.dirty"] == "false"
    assert "nothing to bring" in project.run(*command).stdout


@pytest.mark.slow
def test_edited_projects_of_every_release_are_updated_by_one_command(
    history: Path, pushed: str, tmp_path: Path, render: Callable[..., Path]
) -> None:
    """Edits in files of theirs, in a module that every release has, and in one that some had."""
    harness = "bikes/reproducibility"
    projects = {version: start(history, tmp_path / version, version, project_name="bikes") for version in RELEASES}
    before, edits = {}, {}
    for version, project in projects.items():
        edits[version] = [name for name in ("seeds", "merge") if (project.path / harness / f"{name}.py").exists()]
        for name in ["bikes/train.py", "confs/train.yaml", *(f"{harness}/{name}.py" for name in edits[version])]:
            edit(project, name, f"# mine, in {name}\n")
        before[version] = tree(project.path)
    paths = [str(project.path) for project in projects.values()]
    command = ["uvx", "--python", sys.executable, "--from", pushed, "copier-mlflow", "update", *paths]
    done = projects[RELEASES[0]].run(*command, check=False, JUST=str(shutil.which("true")))
    told = dict(zip(RELEASES, done.stdout.split("\n=== ")[1:], strict=True))
    fresh = tree(render(HEAD))
    for version, project in projects.items():
        after = tree(project.path)
        assert lost_lines(tree(render(version)), before[version], after) == {}
        assert all(
            after[name] == before[version][name]
            for name in before[version]
            if is_yours(name) and not name.startswith("constraints")
        )
        gone = [name for name in edits[version] if f"{harness}/{name}.py" not in fresh]
        assert all(f"{harness}/{name}.py: now in " in told[version] for name in gone)
        assert ("Nothing is left to do" in told[version]) == (not gone and "conflicting" not in told[version])
    assert done.returncode == int(any("Left to do" in text for text in told.values()))


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("version", [version for version in RELEASES if version != "0.1.0"])
def test_a_run_that_a_release_recorded_is_reproduced_after_the_update(
    history: Path, version: str, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "bikes", version)
    project.just("setup")
    project.just("train")
    [run] = project.runs()
    assert cli.run(["update", str(project.path)]) == 0
    project.commit()
    project.just("setup")
    assert "identical" in project.just("reproduce", run.info.run_id).stdout


def actual(name: str) -> str:
    """Find a program itself, behind a shim that would look for others on the PATH."""
    found = str(shutil.which(name))
    if "shims" in Path(found).parts:
        return subprocess.run(["pyenv", "which", name], check=True, capture_output=True, text=True).stdout.strip()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("version", [version for version in RELEASES if "0.4" <= version < "0.6"])
def test_a_projects_own_updater_loses_nothing_on_the_way_here(history: Path, version: str, tmp_path: Path) -> None:
    """The last update that it does: of its own modules, some of them edited, into a project without them."""
    project = start(history, tmp_path / "bikes", version)
    edit(project, "bikes/reproducibility/merge.py", "\n\n# mine\n")
    edit(project, ".gitattributes")
    mine = (project.path / "bikes/reproducibility/merge.py").read_bytes()
    done = project.just("template-update", check=False)
    # mypy looks at what was kept too, which may import what is no more.
    assert done.stdout.rstrip().endswith(("Left to do: just check", "then commit it."))
    assert "kept         bikes/reproducibility/merge.py: the template has it no more" in done.stdout
    assert (project.path / "bikes/reproducibility/merge.py").read_bytes() == mine
    assert (project.path / ".gitattributes").read_text("utf-8").endswith("# mine\n")
    assert find_module(project.path, "template_tool").is_file()
    project.commit()
    # By the tool, from here on, which knows where the code went.
    said = project.just("template-update", check=False).stdout
    assert "retired      bikes/reproducibility/merge.py: now in copier_mlflow/merge.py of the template's" in said
    assert "\n+# mine" in said and "Left to do: what is said above of bikes/reproducibility/merge.py" in said
    (project.path / "bikes/reproducibility/merge.py").unlink()
    project.commit()
    assert "nothing to bring" in project.just("template-update").stdout
    assert project.just("template-diff", "--names").stdout.splitlines()[1:] == ["M\ttemplate/.gitattributes"]


GONE = ("journal", "merge", "pull_request", "template", "template_diff", "template_update", "update")


@pytest.mark.parametrize("version", ["0.5.1", *(pytest.param(v, marks=pytest.mark.slow) for v in ("0.4.0", "0.5.0"))])
def test_edits_in_modules_that_went_away_are_told_with_where_their_code_went(
    history: Path, version: str, tmp_path: Path
) -> None:
    project = start(history, tmp_path / "bikes", version)
    there = [name for name in GONE if (project.path / f"bikes/reproducibility/{name}.py").exists()]
    for name in there:
        edit(project, f"bikes/reproducibility/{name}.py", "\n\n# mine\n")
    prepared = update.prepare(project.path)
    notes = {Path(change.path).stem: change.note for change in prepared.open}
    assert set(notes) == set(there)
    places = {"template_diff": "diff", "template_update": "updating"}
    for name, note in notes.items():
        assert note.startswith(f"now in copier_mlflow/{places.get(name, name)}.py of the template's repository")
    assert prepared.instructions().startswith("  retired ")
    merge.write(project.path, merge.results(prepared.changes))
    for name in there:
        assert (project.path / f"bikes/reproducibility/{name}.py").read_text("utf-8").endswith("# mine\n")


# --- Sources and places -------------------------------------------------------
@pytest.mark.parametrize("kind", ["path", "file address", "bundle", "web address", "home"])
def test_wherever_the_template_is(later: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "t.bundle"
    git(later, "bundle", "create", "--quiet", str(bundle), "--all")
    source = {
        "path": str(later),
        "file address": f"git+{later.as_uri()}",
        "bundle": str(bundle),
        "web address": "https://example.com/copier-mlflow.git",
        "home": "~/t",
    }[kind]
    # git reads the address from a folder instead.
    set_git(monkeypatch, {f"url.{later.as_uri()}.insteadOf": "https://example.com/copier-mlflow.git"})
    monkeypatch.setenv("COPIER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(later.parent))
    project = start(source, tmp_path / "bikes")
    remembered = yaml.safe_load((project.path / template.ANSWERS).read_text("utf-8"))["_src_path"]
    prepared = update.prepare(project.path)
    assert (prepared.old, prepared.new) == (HEAD, LATER)
    merge.write(project.path, merge.results(prepared.changes))
    answers = yaml.safe_load((project.path / template.ANSWERS).read_text("utf-8"))
    assert (answers["_src_path"], answers["_commit"]) == (remembered, LATER)


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("gh:ada/t", "https://github.com/ada/t.git"),
        ("gl:ada/t.git", "https://gitlab.com/ada/t.git"),
        ("git+https://example.com/t", "https://example.com/t"),
        ("git@example.com:ada/t.git", "git@example.com:ada/t.git"),
        ("/srv/t", "/srv/t"),
    ],
)
def test_what_copier_was_told_becomes_an_address(source: str, address: str) -> None:
    assert template.address(source) == address


@pytest.mark.parametrize(
    ("release", "version", "newer"),
    [
        ("0.4.0", "0.3.0", True),
        ("0.10.0", "0.9.0-3-g1234567", True),
        ("0.4.0", "0.4.0-3-g1234567", False),
        ("0.4.0", "0.4.0", False),
        ("0.4.0", "1234567", True),
        ("HEAD", "1234567", False),
    ],
)
def test_only_a_release_is_newer_than_what_a_project_has(release: str, version: str, newer: bool) -> None:
    assert template.is_newer(release, version) is newer


def test_in_a_folder_of_a_monorepo_only_that_folder_is_looked_at(
    begin: Callable[[Path], Project], tmp_path: Path
) -> None:
    top = tmp_path / "mono"
    (top / "teams").mkdir(parents=True)
    (top / "other.txt").write_text("1\n")
    git(top, "init", "--quiet")
    project = begin(top / "teams" / "bikes").path
    shutil.rmtree(project / ".git")
    commit(top)
    (project / "MLproject").write_text((project / "MLproject").read_text("utf-8") + "# mine\n", "utf-8")
    commit(top)
    (top / "other.txt").write_text("somebody works on this\n")
    update.require_clean(project)
    prepared = update.prepare(project)
    merge.write(project, merge.results(prepared.changes))
    merge.mark(project, prepared.changes)
    unmerged = {line.split("\t")[1] for line in git(top, "ls-files", "--unmerged").splitlines()}
    assert unmerged == {"teams/bikes/MLproject"}
    subprocess.run(update.undo(project), shell=True, check=True)
    assert git(top, "status", "--porcelain") == "M other.txt"


HOSTILE = {
    "global excludes": {"core.excludesFile": "excludes"},
    "whitespace": {"apply.whitespace": "error", "core.whitespace": "trailing-space,tab-in-indent"},
    "hidden untracked": {"status.showUntrackedFiles": "no"},
    "autocrlf": {"core.autocrlf": "true"},
    "noprefix": {"diff.noprefix": "true", "diff.external": "false", "color.ui": "always"},
    "hooks": {"core.hooksPath": "hooks"},
    "signing": {"commit.gpgSign": "true", "tag.gpgSign": "true", "gpg.program": "false"},
    "conflict style": {"merge.conflictStyle": "diff3"},
    "attributes": {"core.attributesFile": "attributes"},
}


def merged(project: Path) -> dict[str, bytes]:
    """Update without what comes after the merge, and give what then stands there."""
    update.require_clean(project)
    prepared = update.prepare(project)
    merge.write(project, merge.results(prepared.changes))
    merge.mark(project, prepared.changes)
    return tree(project)


@pytest.fixture(scope="module")
def conflicting(
    begin: Callable[[Path], Project], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, bytes]]:
    """A project that wants an update and edited what it changes; and what comes of it, with no settings of git."""
    folder = tmp_path_factory.mktemp("conflicting")
    project = begin(folder / "bikes").path
    (project / "MLproject").write_text((project / "MLproject").read_text("utf-8") + "# mine   \n", "utf-8")
    commit(project)
    shutil.copytree(project, folder / "friendly")
    return project, merged(folder / "friendly")


#: One that hides edits, one that fails commands, one that changes what a merge writes; the others are slow.
PROMPT = ("attributes", "hooks", "conflict style")


@pytest.mark.parametrize(
    "setting", [pytest.param(name, marks=() if name in PROMPT else pytest.mark.slow) for name in HOSTILE]
)
def test_no_setting_of_a_users_git_changes_the_result(
    setting: str, conflicting: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "excludes").write_text("*\n")
    (tmp_path / "attributes").write_text("* binary -diff merge=ours\n")
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "pre-commit", "reference-transaction"):
        (tmp_path / "hooks" / hook).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "hooks" / hook).chmod(0o755)
    original, expected = conflicting
    project = tmp_path / "bikes"
    shutil.copytree(original, project)
    made = {path.name: str(path) for path in tmp_path.iterdir()}
    set_git(monkeypatch, {name: made.get(value, value) for name, value in HOSTILE[setting].items()})
    assert merged(project) == expected
    if setting == "hidden untracked":
        subprocess.run(update.undo(project), shell=True, check=True)
        (project / "mine.txt").write_text("1\n")
        with pytest.raises(errors.ProjectError, match=r"uncommitted work: mine\.txt"):
            update.require_clean(project)


@pytest.mark.slow
def test_the_oldest_copier_gives_the_same_update(history: Path, tmp_path: Path) -> None:
    project = start(history, tmp_path / "bikes", RELEASES[0]).path
    oldest = CONFIG["_min_copier_version"]
    program = (
        f"import copier, copier_mlflow.update, pathlib, sys\nassert copier.__version__ == {oldest!r}\n"
        "print(copier_mlflow.update.prepare(pathlib.Path(sys.argv[1])).report())\n"
    )
    command = ["uv", "run", "--quiet", "--no-project", "--python", sys.executable, "--with", f"copier=={oldest}"]
    variables = os.environ | {"PYTHONPATH": str(TEMPLATE)}
    done = subprocess.run(
        [*command, "python", "-c", program, str(project)], cwd="/", env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == update.prepare(project).report() + "\n"


# --- Bad input ----------------------------------------------------------------
@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_an_edit_that_git_is_told_not_to_see_is_seen(
    begin: Callable[[Path], Project], flag: str, tmp_path: Path
) -> None:
    project = begin(tmp_path / "bikes")
    project.git("update-index", flag, "MLproject")
    (project.path / "MLproject").write_text("mine\n", "utf-8")
    assert project.git("status", "--porcelain") == ""
    with pytest.raises(errors.ProjectError, match="not to look at MLproject"):
        update.require_clean(project.path)


def test_what_is_missing_or_wrong_is_named(later: Path, begin: Callable[[Path], Project], tmp_path: Path) -> None:
    project = begin(tmp_path / "bikes").path
    answers = project / template.ANSWERS
    text = answers.read_text("utf-8")
    for content, said in {
        "": "does not say which template",
        "a: [": "does not say which template",
        text.replace(str(later), str(tmp_path / "gone")): "the template cannot be fetched from .*gone",
        text.replace(f"_commit: {HEAD}", "_commit: 1234567"): "the template has no version 1234567",
    }.items():
        answers.write_text(content, "utf-8")
        with pytest.raises(errors.ProjectError, match=said) as raised:
            update.prepare(project)
        assert raised.value.fix
    answers.write_text(text, "utf-8")
    with pytest.raises(errors.ProjectError, match=r"has no version 7\.0\.0") as raised:
        update.prepare(project, "7.0.0")
    assert LATER in raised.value.fix
    with pytest.raises(errors.ProjectError, match=r"Copier cannot render the template: .*python_version"):
        update.prepare(project, None, {"python_version": "2.7"})
    shutil.rmtree(project / ".git")
    with pytest.raises(errors.ProjectError, match="no commit of this project"):
        update.require_clean(project)


@pytest.fixture(scope="module")
def relockable(later: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A template whose last release changes dependencies, and a project of the one before."""
    folder = tmp_path_factory.mktemp("relockable")
    source = folder / "t"
    shutil.copytree(later, source)
    path = source / "template" / "pyproject.toml.jinja"
    path.write_text(path.read_text("utf-8").replace('    "packaging>=26",\n', '    "packaging>=26",\n    "six>=1",\n'))
    commit(source)
    git(source, "tag", "99.2.0")
    project = start(source, folder / "bikes", LATER).path
    (project / "MLproject").write_text((project / "MLproject").read_text("utf-8") + "# mine\n", "utf-8")
    commit(project)
    return source, project


@pytest.fixture
def relocking(relockable: tuple[Path, Path], tmp_path: Path) -> Path:
    """A project whose update changes dependencies, so that it compiles the locks."""
    return Path(shutil.copytree(relockable[1], tmp_path / "bikes"))


def test_an_edit_that_was_saved_meanwhile_is_not_overwritten(relocking: Path) -> None:
    prepared = update.prepare(relocking)
    path = relocking / "python_env.yaml"
    path.write_text(path.read_text("utf-8") + "# saved meanwhile\n", "utf-8")
    before = tree(relocking)
    with pytest.raises(errors.ProjectError, match=r"uncommitted work: python_env\.yaml"):
        update.perform(relocking, prepared)
    (relocking / "pyproject.toml").write_text("# and committed\n", "utf-8")
    commit(relocking)
    before = tree(relocking)
    with pytest.raises(errors.ProjectError, match=r"pyproject\.toml changed meanwhile"):
        update.perform(relocking, prepared)
    assert tree(relocking) == before


def test_a_conflict_in_the_modules_that_lock_is_left_to_do_like_any_other(
    relockable: tuple[Path, Path], relocking: Path, tmp_path: Path
) -> None:
    original, source = relockable[0], tmp_path / "t"
    shutil.copytree(original, source)
    module = find_module(source / "template", "locks")
    module.write_text("# theirs\n" + module.read_text("utf-8"), "utf-8")
    commit(source)
    git(source, "tag", "99.3.0")
    project = relocking
    answers = project / template.ANSWERS
    answers.write_text(answers.read_text("utf-8").replace(str(original), str(source)), "utf-8")
    module = find_module(project, "locks")
    module.write_text("# mine\n" + module.read_text("utf-8"), "utf-8")
    commit(project)
    assert update.perform(project, update.prepare(project)) == ["lock", "setup", "check"]
    assert "<<<<<<< yours" in module.read_text("utf-8")
    done = Project(project).just("check", check=False)
    assert done.returncode == 3
    assert "conflict markers of a template update" in done.stdout


def test_after_a_conflict_in_the_dependencies_locks_are_left_to_do(relocking: Path) -> None:
    path = relocking / "pyproject.toml"
    path.write_text(path.read_text("utf-8").replace('"packaging>=26",', '"packaging>=26.1",'), "utf-8")
    commit(relocking)
    prepared = update.prepare(relocking)
    assert {change.path for change in prepared.open} == {"pyproject.toml"}
    assert update.perform(relocking, prepared) == ["lock", "setup", "check"]


def test_a_new_file_that_git_ignores_is_added_and_can_be_undone(later: Path, tmp_path: Path) -> None:
    source = tmp_path / "t"
    shutil.copytree(later, source)
    (source / "template" / "notes.txt").write_text("new\n")
    commit(source)
    git(source, "tag", "99.3.0")
    project = start(source, tmp_path / "bikes", LATER)
    (project.path / ".git" / "info" / "exclude").write_text("notes.txt\n")
    before = tree(project.path)
    update.perform(project.path, update.prepare(project.path))
    assert "A  notes.txt" in project.git("status", "--porcelain").splitlines()
    project.run("bash", "-c", update.undo(project.path))
    assert tree(project.path) == before
    assert project.git("status", "--porcelain") == ""


def test_what_is_written_into_the_answers_is_told(begin: Callable[[Path], Project], tmp_path: Path) -> None:
    project = begin(tmp_path / "bikes")
    edit(project, template.ANSWERS, "# asked on a Monday\n")
    [change] = [change for change in update.prepare(project.path).changes if change.path == template.ANSWERS]
    assert change.kind == "merged"
    assert "git's history only" in change.note


def slow_uv(folder: Path, script: str) -> str:
    """A PATH on which uv is a script."""
    folder.mkdir()
    (folder / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "uv").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def begin_update(project: Path, path: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TOOL, "update", str(project)],
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_where_the_locks_cannot_be_compiled_the_project_is_as_it_was(relocking: Path, tmp_path: Path) -> None:
    before = tree(relocking)
    process = begin_update(relocking, slow_uv(tmp_path / "bin", "exit 2"))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3, output
    assert "the locks cannot be compiled, so the project is as it was" in output
    assert tree(relocking) == before
    assert git(relocking, "status", "--porcelain") == ""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_update_that_is_stopped_in_the_middle(relocking: Path, how: signal.Signals, tmp_path: Path) -> None:
    before = tree(relocking)
    os.mkfifo(tmp_path / "reached")
    process = begin_update(relocking, slow_uv(tmp_path / "bin", f"echo x > {tmp_path / 'reached'}\nexec sleep 600"))
    (tmp_path / "reached").read_text()  # returns once the update stands in the middle: written, and compiling locks
    assert tree(relocking) != before
    os.killpg(process.pid, how)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    if how is signal.SIGKILL:
        command = output.partition("with what you do after it: ")[2].splitlines()[0]
        subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert tree(relocking) == before, output
    assert git(relocking, "status", "--porcelain") == ""


def test_the_update_after_one_that_was_killed_alone_is_a_whole_one(relocking: Path, tmp_path: Path) -> None:
    """The processes that compile must not write into what the next command makes of the project."""
    before = tree(relocking)
    for name in ("reached", "go on"):
        os.mkfifo(tmp_path / name)
    once = f"mkdir '{tmp_path}/once' 2> /dev/null && {{ echo x > '{tmp_path}/reached'; read x < '{tmp_path}/go on'; }}"
    script = f'{once}\nexec {shutil.which("uv")} "$@"'
    process = begin_update(relocking, slow_uv(tmp_path / "bin", script))
    (tmp_path / "reached").read_text()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    outliving = threading.Thread(target=(tmp_path / "go on").write_text, args=("x\n" * 9,), daemon=True)
    half = git(relocking, "diff", "--name-only", "HEAD").split()
    assert "pyproject.toml" in half and "constraints.txt" not in half
    with pytest.raises(errors.ProjectError, match="was cut off"):
        updating.run(relocking, None, {}, check=True)
    assert journal.take_back(relocking) == []
    assert tree(relocking) == before
    outliving.start()
    process.communicate(timeout=120)  # returns once the last of them ended
    assert tree(relocking) == before
    assert git(relocking, "status", "--porcelain") == ""


CUT_OFF = """
import os, signal, sys
from pathlib import Path
from bikes.reproducibility import journal, merge
project = Path.cwd()
paths = ["MLproject", "new.txt", "constraints.txt"]
before = {path: merge.read(project, path) for path in paths}
after = {"MLproject": merge.File(b"half\\n"), "new.txt": merge.File(b"half\\n")}
with journal.kept(project, before, after):
    merge.write(project, after)
    (project / "constraints.txt").write_text("half\\n")
    print("written", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_the_updater_of_0_5_left_is_known_and_taken_back(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = start(history, tmp_path / "bikes", "0.5.0").path
    before = tree(project)
    command = [sys.executable, "-B", "-c", CUT_OFF]
    with subprocess.Popen(command, cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        assert not journal.is_unfinished(project)
        assert tree(project) != before
    assert journal.is_unfinished(project)
    assert cli.run(["update", "--check", str(project)]) == 3
    assert "was cut off" in capsys.readouterr().err
    assert cli.run(["update", "--to", "0.5.0", str(project)]) == 0
    assert "It is taken back" in capsys.readouterr().out
    assert tree(project) == before
    assert git(project, "status", "--porcelain") == ""


def test_wrong_usage_is_told_before_anything_is_done(
    begin: Callable[[Path], Project], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = begin(tmp_path / "bikes").path
    before = tree(project)
    for wrong in (
        ["update"],
        ["update", "--bad"],
        ["update", str(project), LATER],
        ["updat"],
        ["diff", str(project), "x"],
    ):
        assert cli.run(wrong) == 64
        assert "rror: " in capsys.readouterr().err
    assert cli.run(["update", str(project), "--data", "ci"]) == 64
    assert tree(project) == before


# --- Pull requests ------------------------------------------------------------
class Service:
    """The API of GitHub or GitLab, which answers every request and remembers it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status = 201
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append({"path": self.path, "headers": dict(self.headers), "body": body})
                answer = json.dumps(
                    {"html_url": "https://example.com/1", "web_url": "https://example.com/2", "message": "no draft"}
                ).encode()
                self.send_response(service.status)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.server.shutdown()
    service.server.server_close()


@pytest.fixture
def proposing(
    begin: Callable[[Path], Project], service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A project with a remote, in the CI of GitHub; `just` there only says which recipe it was given."""
    project = begin(tmp_path / "bikes")
    git(tmp_path, "clone", "--quiet", "--bare", str(project.path), "remote.git")
    project.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    (tmp_path / "just").write_text('#!/bin/sh\ntest "$1" != "$FAILING"\n')
    (tmp_path / "just").chmod(0o755)
    monkeypatch.setenv("JUST", str(tmp_path / "just"))
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/bikes")
    monkeypatch.setenv("GITHUB_API_URL", service.address)
    monkeypatch.setenv("TEMPLATE_UPDATE_TOKEN", "t0ken")
    return project


def propose(project: Project, capfd: pytest.CaptureFixture[str]) -> str:
    """Propose an update where somebody works, which touches nothing of theirs."""
    (project.path / "staged.txt").write_text("staged\n")
    project.git("add", "staged.txt")
    (project.path / "bikes" / "train.py").write_text("# in the middle of something\n")
    before, branch = tree(project.path), project.git("branch", "--show-current")
    try:
        assert pull_request.propose(project.path, None, {}) == 0
    finally:
        assert tree(project.path) == before
        assert project.git("branch", "--list").split() == ["*", branch]
        assert project.git("status", "--porcelain").splitlines() == ["M bikes/train.py", "A  staged.txt"]
        assert len(project.git("worktree", "list").splitlines()) == 1
    return capfd.readouterr().out


def test_a_clean_update_is_proposed_once(
    proposing: Project, service: Service, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "proposed as https://example.com/1" in propose(proposing, capfd)
    [asked] = service.asked
    assert asked["path"] == "/repos/ada/bikes/pulls"
    assert asked["headers"]["Authorization"] == "Bearer t0ken"
    body = asked["body"]
    branch = proposing.git("branch", "--show-current")
    assert {name: body[name] for name in ("head", "base", "draft", "title")} == {
        "head": f"template-update-{LATER}",
        "base": branch,
        "draft": False,
        "title": f"Update the template to {LATER}",
    }
    assert "- Said later." in body["body"]
    assert "that you had not edited" in body["body"]
    assert "Left to do" not in body["body"]
    pushed = git(tmp_path / "remote.git", "diff", "--name-only", branch, f"template-update-{LATER}").splitlines()
    liveness = find_module(proposing.path, "liveness").relative_to(proposing.path).as_posix()
    assert set(pushed) == {"MLproject", ".gitignore", liveness, template.ANSWERS}
    assert "was pushed before" in propose(proposing, capfd)
    assert len(service.asked) == 1


def test_conflicts_make_a_draft_without_markers(
    proposing: Project, service: Service, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit(proposing, "MLproject")
    propose(proposing, capfd)
    [asked] = service.asked
    assert asked["body"]["draft"] is True
    assert "**MLproject** (conflicting: yours stand)" in asked["body"]["body"]
    assert "+# later" in asked["body"]["body"]
    branch = f"template-update-{LATER}"
    assert git(tmp_path / "remote.git", "show", f"{branch}:MLproject").endswith("# mine")
    assert git(tmp_path / "remote.git", "grep", "-E", "^(<<<<<<<|>>>>>>>)", branch, check=False) == ""


def test_a_check_that_fails_makes_a_draft(
    proposing: Project, service: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAILING", "check")
    propose(proposing, capfd)
    [asked] = service.asked
    assert asked["body"]["draft"] is True
    assert "`just check` fails on this branch" in asked["body"]["body"]


def test_on_gitlab_it_is_a_merge_request(
    proposing: Project, service: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY")
    monkeypatch.setenv("CI_PROJECT_ID", "7")
    monkeypatch.setenv("CI_API_V4_URL", f"{service.address}/api/v4")
    edit(proposing, "MLproject")
    assert "proposed as https://example.com/2" in propose(proposing, capfd)
    [asked] = service.asked
    assert asked["path"] == "/api/v4/projects/7/merge_requests"
    assert asked["headers"]["Private-Token"] == "t0ken"
    assert asked["body"]["title"] == f"Draft: Update the template to {LATER}"
    assert "- Said later." in asked["body"]["description"]


def test_outside_their_ci_the_branch_is_pushed_and_the_text_printed(
    proposing: Project, service: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY")
    output = propose(proposing, capfd)
    assert f"template-update-{LATER} is pushed" in output
    assert "### What happens to your files" in output
    assert service.asked == []


def test_a_repository_without_drafts_gets_an_ordinary_pull_request(
    proposing: Project, service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    edit(proposing, "MLproject")
    service.status = 422
    with pytest.raises(errors.ProjectError, match="422"):
        propose(proposing, capfd)
    assert [asked["body"]["draft"] for asked in service.asked] == [True, False]
    assert service.asked[1]["body"]["title"].startswith("Draft: ")


@pytest.mark.parametrize("fault", ["refused", "down", "push"])
def test_what_cannot_be_proposed_leaves_nothing_behind(
    fault: str,
    proposing: Project,
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if fault == "refused":
        service.status = 403
    elif fault == "down":
        monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    else:
        hook = tmp_path / "remote.git" / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    with pytest.raises(errors.ProjectError) as raised:
        propose(proposing, capfd)
    assert "t0ken" not in raised.value.cause + raised.value.fix
    assert f"template-update-{LATER}" not in git(tmp_path / "remote.git", "branch", "--list")


@pytest.mark.slow
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_the_job_of_the_ci_proposes_an_update(ci: str, later: Path, service: Service, tmp_path: Path) -> None:
    original = start(later, tmp_path / "original", ci=ci, updates="pull-request")
    runner = Runner(original.path, tmp_path, ci)
    if ci == "github":
        workflow = yaml.safe_load((runner.project.path / ".github/workflows/template-update.yml").read_text())
        steps = [Step(step["run"]) for step in workflow["jobs"]["template-update"]["steps"] if "run" in step]
        runner.project.git("switch", "--quiet", "main")  # as actions/checkout does
        runner.env |= {"GITHUB_REPOSITORY": "ada/bikes", "GITHUB_API_URL": service.address}
    else:
        pipeline = yaml.safe_load((runner.project.path / ".gitlab-ci.yml").read_text())
        steps = [Step(command) for command in pipeline["template-update"]["script"]]
        (tmp_path / "original.git").symlink_to(original.path)
        runner.env |= {"CI_PROJECT_ID": "7", "CI_API_V4_URL": service.address}
        runner.env |= {"CI_PROJECT_URL": str(original.path), "CI_COMMIT_BRANCH": "main"}
    runner.env |= {"TEMPLATE_UPDATE_TOKEN": "t0ken"}
    for step in steps:
        done = runner.run(step)
        assert done.returncode == 0, f"{step.command}\n{done.stdout}"
    [asked] = service.asked
    assert asked["body"].get("draft") in (False, None)
    assert "Draft" not in asked["body"]["title"]
    assert f"template-update-{LATER}" in original.git("branch", "--list")


# --- Fleets -------------------------------------------------------------------
def test_a_fleet_is_shown_in_one_table(history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    current, old, edited, lost = (tmp_path / name for name in ("current", "old", "edited", "lost"))
    start(history, current)
    start(history, old, RELEASES[0])
    doctor = find_module(start(history, edited).path, "doctor").relative_to(edited).as_posix()
    edit(Project(edited), doctor)
    (edited / "justfile").unlink()
    (edited / "bikes" / "train.py").write_text("mine\n")
    answers = (start(history, lost).path / template.ANSWERS).read_text("utf-8")
    (lost / template.ANSWERS).write_text(answers.replace(str(history), str(tmp_path / "gone")), "utf-8")
    clones = status.Clones(tmp_path)
    looks = {path.name: status.look(path, clones) for path in (current, old, edited, lost)}
    assert (looks["current"].version, looks["current"].drift) == (HEAD, "none")
    assert (looks["old"].version, looks["old"].drift) == (f"{RELEASES[0]}, {HEAD} is out", "none")
    assert looks["edited"].drift == f"2: justfile, {doctor}"
    assert looks["current"].verified == "no runs yet"
    assert looks["lost"].drift.startswith("the template cannot be fetched from")
    assert status.look(tmp_path / "nowhere", clones).verified == "no such folder"
    (current / "mlflow.db").write_bytes(b"no database" * 100)
    assert "cannot be read" in status.look(current, clones).verified
    assert cli.run(["status", *map(str, (current, old, edited))]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["project", "version", "drift", "last", "verified"] in rows
    assert [str(edited), HEAD, "2:", "justfile,", doctor, "no", "runs", "yet"] in rows


@pytest.mark.slow
def test_a_fleet_shows_what_was_verified(project: Project) -> None:
    project.just("train")
    assert status._verified(project.path) == "never"
    [run] = project.runs()
    project.just("reproduce", run.info.run_id)
    assert status._verified(project.path).startswith("identical, 20")
