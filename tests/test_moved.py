"""A release that moves every module of the harness: no edit is lost, and where the code is now is told."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from updates import EDITS, commit, git, is_yours, lost_lines, run_copier, tree

from copier_mlflow import cli, locks, merge, moved, update

pytestmark = pytest.mark.e2e
LATER = "99.5.0"
#: A release whose harness stood on one floor.
FLAT = "0.4.0"
HARNESS = "bikes/reproducibility"
STAY = ("__init__", "framework")


@pytest.fixture(scope="module")
def rooms(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with one more release, in which almost every module is somewhere else."""
    source = tmp_path_factory.mktemp("rooms") / "t"
    shutil.copytree(history, source)
    harness = source / "template" / "{{ package_name }}" / "reproducibility"
    for module in [path for path in harness.rglob("*.py") if path.stem not in STAY]:
        room = module.parent / f"room_{module.stem[0]}"
        room.mkdir(exist_ok=True)
        imports = re.compile(r"^( *)from \.", re.MULTILINE)
        (room / module.name).write_text(imports.sub(r"\1from ..", module.read_text("utf-8")), "utf-8")
        module.unlink()
    path = source / "copier.yml"
    config = yaml.safe_load(path.read_text("utf-8"))
    package = "/{{ package_name | default('*') }}/reproducibility/"
    patterns = [f"{package}*.py", *(f"!{package}{name}.py" for name in STAY)]
    config["_exclude"] = [pattern for pattern in config["_exclude"] if "/reproducibility/" not in pattern]
    config["_exclude"] += [f"{{% if _copier_operation == 'update' %}}{pattern}{{% endif %}}" for pattern in patterns]
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf-8")
    commit(source)
    git(source, "tag", LATER)
    return source


def made_from(rooms: Path, destination: Path) -> Path:
    """A project of the release on one floor."""
    data = ["--data=project_name=bikes", f"--vcs-ref={FLAT}", str(rooms), str(destination)]
    done = run_copier("copy", "--quiet", "--defaults", *data, cwd=destination.parent)
    assert done.returncode == 0, done.stderr
    git(destination, "init", "--quiet")
    commit(destination)
    return destination


def modules(project: Path) -> list[str]:
    """The names of the modules on the floor that moves."""
    return sorted(path.stem for path in (project / HARNESS).glob("*.py") if path.stem not in STAY)


def edit(project: Path, names: list[str]) -> None:
    for name in names:
        path = project / HARNESS / f"{name}.py"
        path.write_text(f"{path.read_text('utf-8')}\n\n# mine, in {name}\n", "utf-8")
    commit(project, "Edit")


def test_edits_in_many_modules_that_moved_are_kept_and_told_on_one_screen(
    rooms: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = made_from(rooms, tmp_path / "bikes")
    base, names = tree(project), modules(project)
    assert len(names) > 30
    edit(project, names)
    before = tree(project)
    prepared = update.prepare(project)
    assert prepared is not None
    retired = {Path(change.path).stem: change.note for change in prepared.of_kind(merge.Kind.RETIRED)}
    assert list(retired) == names
    now = {path.stem: path for path in rooms.rglob("template/**/room_?/*.py")}
    for name, note in retired.items():
        if name in now:  # of the same name, and of nearly the same content
            assert note.startswith(f"now in {HARNESS}/") and note.split(" and ")[0].endswith(f"/{name}.py")
        else:
            assert "in copier_mlflow/" in note
    assert len(prepared.report().splitlines()) <= 40
    assert len(prepared.instructions().splitlines()) <= 24
    assert max(map(len, prepared.report().splitlines())) <= 120
    assert f"just template-diff --from {FLAT} FILE" in prepared.instructions()

    merge.write(project, merge.results(prepared.changes))
    after = tree(project)
    assert lost_lines(base, before, after) == {}
    assert all(after[f"{HARNESS}/{name}.py"] == before[f"{HARNESS}/{name}.py"] for name in names)
    capfd.readouterr()
    assert cli.run(["diff", str(project), "--from", FLAT, f"{HARNESS}/locks.py"]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert [line for line in shown if line.startswith("+")] == [
        *(f"+++ yours/{HARNESS}/locks.py", "+", "+", "+# mine, in locks")
    ]


@pytest.mark.parametrize("tool", ["ours", "copier"])
@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.slow
def test_no_edit_of_a_module_that_moves_is_lost(rooms: Path, kind: str, tool: str, tmp_path: Path) -> None:
    project = made_from(rooms, tmp_path / "bikes")
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
    stay = {f"{HARNESS}/{name}.py" for name in STAY}
    for name in before:
        if name.startswith(f"{HARNESS}/") and name not in stay and (tool == "copier" or name in after):
            assert after[name] == before[name], name


def test_what_copier_by_itself_leaves_of_modules_that_moved_is_tidied_and_told(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = made_from(rooms, tmp_path / "bikes")
    base, names = tree(project), modules(project)
    edit(project, ["locks", "merge"])
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
    assert after[f"{HARNESS}/locks.py"] == before[f"{HARNESS}/locks.py"]
    assert any(name.endswith("room_l/locks.py") for name in after)
    commit(project, "Update")

    prepared = update.prepare(project)
    assert prepared is not None and (prepared.old, prepared.new, prepared.news) == (LATER, LATER, "")
    kinds = {change.path: change.kind for change in prepared.changes}
    gone = {f"{HARNESS}/{name}.py": merge.Kind.DELETED for name in names if name != "digest"}
    retired = {f"{HARNESS}/{name}.py": merge.Kind.RETIRED for name in ("locks", "merge")}
    assert kinds == gone | retired
    assert "+# mine, in locks" in prepared.instructions().splitlines()
    assert cli.run(["update", "--check", str(project)]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"template {LATER}  (") and f"{len(gone) - 2} in {HARNESS}/" in said

    merge.write(project, merge.results(prepared.changes))
    left = {path.name for path in (project / HARNESS).glob("*.py")}
    assert left == {*(f"{name}.py" for name in STAY), "locks.py", "merge.py", "mine.py"}
    for name in ("locks", "merge"):
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
        (range(0, 16), ["a", "b"]),
        (range(90, 99), []),
        (range(0), []),
    ],
)
def test_code_is_where_most_of_its_lines_are(lines: range, found: list[str]) -> None:
    def content(numbers: range) -> bytes:
        return b"import something\n" + b"".join(b"    line(number, %d)\n\n" % number for number in numbers)

    places = {"a": range(0, 10), "b": range(10, 20), "c": range(20, 60)}
    assert moved._find(content(lines), {name: moved._lines(content(there)) for name, there in places.items()}) == found
