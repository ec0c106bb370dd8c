"""Data outside the project: below a data root, or where links lead; and copies that take no room."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project, refused
from test_folders import QUICK, entry

import harness

files, folders = harness.load("common.files"), harness.load("datasets.folders")
manifest, read_only = harness.load("datasets.manifest"), harness.load("proof.read_only")
replay_data = harness.load("proof.replay_data")
ProjectError = harness.load("common.errors").ProjectError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root, and a project beside it."""
    monkeypatch.setattr(manifest, "ROOT", tmp_path / "p")
    monkeypatch.setattr(manifest, "options", lambda: {"data": str(tmp_path / "mnt")})
    (tmp_path / "p/data").mkdir(parents=True)
    (tmp_path / "p/pyproject.toml").touch()
    return tmp_path / "mnt"


def test_what_is_not_in_the_project_lies_below_the_data_root(root: Path) -> None:
    here = root.parent / "p/data"
    assert manifest.place_of("data/a/b") == root / "a/b"
    (here / "a").mkdir()
    assert manifest.place_of("data/a/b") == root / "a/b"
    (here / "a/b").write_text("small")
    assert manifest.place_of("data/a/b") == here / "a/b"
    (here / "link").symlink_to("nowhere")
    assert manifest.place_of("data/link") == here / "link"
    assert manifest.place_of("other/file") == root.parent / "p/other/file"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "data/../../x", "data/../../mnt/x"])
def test_no_entry_leads_out_by_its_path(root: Path, path: str) -> None:
    with pytest.raises(ProjectError, match="outside the project"):
        manifest.Dataset("x", path, "sha256:00", 1)
    assert manifest.Dataset("x", "data/../data/x", "sha256:00", 1).file == root / "x"


def test_data_root_that_is_not_there_is_told_before_anything_is_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProjectError, match=r"is not there"):
        manifest.Dataset("x", "data/x", "sha256:00", 1).require_own()
    root.mkdir()
    manifest.Dataset("x", "data/x", "sha256:00", 1).require_own()
    monkeypatch.setattr(manifest, "options", lambda: {"data": "mnt"})
    with pytest.raises(ProjectError, match="no absolute path"):
        manifest.Dataset("x", "data/x", "sha256:00", 1)


def test_nothing_is_written_where_a_link_leads(root: Path) -> None:
    (root.parent / "p/data/x").symlink_to(root.parent / "elsewhere")
    with pytest.raises(ProjectError, match="where nothing is written"):
        manifest.Dataset("x", "data/x", "sha256:00", 1).require_own()
    (root.parent / "p/data/x").unlink()
    (root.parent / "p/data/x").symlink_to("y")
    manifest.Dataset("x", "data/x", "sha256:00", 1).require_own()


def test_a_container_reads_data_outside_the_project_where_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = harness.load("training.mounts")
    project, elsewhere = root.parent / "p", root.parent / "elsewhere"
    for folder in (root / "pictures", elsewhere, project / "more"):
        folder.mkdir(parents=True)
    (project / "data/linked").symlink_to(elsewhere)
    paths = ("data/pictures", "data/linked", "data/gone", "more")
    entries = {path: manifest.Dataset("x", path, "sha256:00", 1, files=1) for path in paths}
    monkeypatch.setattr(mounts, "ROOT", project)
    monkeypatch.setattr(manifest, "read_manifest", lambda: entries)
    inside = mounts.PROJECT

    def seen(of: Path) -> dict[Path, Path]:
        return {mount.target or mount.source: mount.source for mount in mounts.data(of) if not mount.writable}

    own = {inside / "data": project / "data", inside / "more": project / "more"}
    assert seen(project) == own | {place: place for place in (root / "pictures", elsewhere)}
    checkout = root.parent / "checkout"
    (checkout / "data").mkdir(parents=True)
    assert seen(checkout) == {inside / "data": checkout / "data"}, "where a replay has its own"


#: Reads two folders; a replay then tries to spoil what it read.
SPOILING = """
def train(settings, run):
    import os
    pictures, linked = run.path("pictures"), run.path("linked")
    files = [pictures / "2", pictures / "ü/1", linked / "3", linked / "more/4"]
    run.stage("read", [path.read_bytes() for path in files])
    if "REPRO_REPLAY" in os.environ:
        for path in files:
            path.write_bytes(b"spoiled")
    return _train(settings, run)
"""


@pytest.mark.e2e
def test_data_outside_the_project_are_trained_on_and_never_written(project: Project, tmp_path: Path) -> None:
    mount, elsewhere, inner = tmp_path / "mnt", tmp_path / "elsewhere", tmp_path / "inner"
    for path, content in {
        tmp_path / "pictures/ü/1": "one",
        tmp_path / "pictures/2": "two",
        elsewhere / "3": "three",
        inner / "4": "four",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for number in range(replay_data.MANY):
        (tmp_path / "pictures" / f"of many {number}").touch()
    (elsewhere / "more").symlink_to(inner)
    pyproject = project.path / "pyproject.toml"
    text = pyproject.read_text("utf-8")
    pyproject.write_text(text.replace("[tool.reproducibility]", f'[tool.reproducibility]\ndata = "{mount}"'), "utf-8")
    assert "mkdir -p" in refused(project.just("data-add", str(tmp_path / "pictures"), check=False))
    mount.mkdir()
    project.just("data-add", str(tmp_path / "pictures"))
    assert entry(project, "pictures")["path"] == "data/pictures"
    (project.path / "data/linked").symlink_to(elsewhere)
    project.just("data-add", "data/linked")
    assert entry(project, "linked") | {"path": "data/linked", "files": 2} == entry(project, "linked")
    assert (project.path / "data/linked").is_symlink() and not (project.path / "data/pictures").exists()
    train = project.path / "bikes/train.py"
    train.write_text(train.read_text("utf-8").replace("def train(", "def _train(") + SPOILING, "utf-8")
    project.commit()
    kept = project.git("ls-files", "data").split()
    assert {"data/pictures.files", "data/linked.files"} <= {*kept} and "data/linked" not in kept
    project.just("train", *QUICK)
    run = project.runs()[0]
    assert run.data.tags["repro.dirty"] == "false"

    def originals() -> list[str]:
        places = (mount / "pictures/ü/1", mount / "pictures/2", elsewhere / "3", inner / "4")
        return [path.read_text() for path in places]

    reproduced = project.just("reproduce", run.info.run_id)
    assert "identical" in reproduced.stdout and "executed once more, with a copy" in reproduced.stdout
    assert originals() == ["one", "two", "three", "four"]

    (mount / "pictures/2").write_text("another")
    (inner / "4").write_text("another")
    told = refused(project.just("data-check", check=False))
    assert "2 of 3 datasets" in told
    assert "leads to" in refused(project.just("data-check", "--restore", check=False))
    assert (inner / "4").read_text() == "another"
    assert "identical" in project.just("reproduce", run.info.run_id).stdout, "from the store's copies"
    (project.path / "data/linked").unlink()
    project.just("data-check", "--restore")
    assert (mount / "pictures/2").read_text() == "two"
    assert (mount / "linked/more/4").read_text() == "four" and not (project.path / "data/linked").exists()
    assert (inner / "4").read_text() == "another"


# --- Shown to a replay where they are -------------------------------------------
READS_AND_WRITES = """
import pathlib, sys
for place in map(pathlib.Path, sys.argv[1:]):
    print(place.read_text() if place.is_file() else sorted(file.name for file in place.iterdir()))
    try:
        (place if place.is_file() else place / "new").write_text("spoiled")
    except OSError as error:
        print(error.strerror)
"""


@pytest.fixture
def mountable(tmp_path: Path) -> Path:
    """A folder; skip where nobody may have mounts of their own."""
    if not read_only.is_possible(tmp_path, tmp_path):
        pytest.skip("needs user namespaces")
    return tmp_path


def test_what_is_shown_is_read_and_not_written(mountable: Path) -> None:
    places = {name: (mountable / "own" / name, mountable / "seen" / name) for name in ("file, 1", "folder -- ü")}
    for place in places["folder -- ü"]:
        place.mkdir(parents=True)
    for place in places["file, 1"]:
        place.write_text(place.parent.name)
    (mountable / "own/folder -- ü/a").touch()
    program = [sys.executable, "-c", READS_AND_WRITES, *(str(seen) for _, seen in places.values())]
    done = subprocess.run(read_only.command(places.values(), program), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["own", "Read-only file system", "['a']", "Read-only file system"]
    assert (mountable / "own/file, 1").read_text() == "own" and (mountable / "seen/file, 1").read_text() == "seen"
    assert not [*(mountable / "seen/folder -- ü").iterdir()]
    assert read_only.command([], program) == program
    assert not read_only.is_possible(mountable / "nowhere", mountable)


def test_only_what_is_large_as_registered_and_without_links_is_shown(
    mountable: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(mountable / "cache"))
    monkeypatch.setattr(replay_data, "MANY", 2)
    project, checkout = root.parent / "p", root.parent / "checkout"
    kinds = {"few": 2, "many": 3, "changed": 3, "linked": 3}
    (checkout / "data").mkdir(parents=True)
    entries = []
    for name, count in kinds.items():
        place = project / "data" / name
        place.mkdir()
        for number in range(count):
            (place / str(number)).write_text(f"{number}")
        if name == "linked":
            (place / "0").unlink()
            (place / "0").symlink_to("1")
        listing = folders.text(folders.scan(place))
        (project / "data" / f"{name}.files").write_bytes(listing)
        digest = harness.load("common.digest").of_bytes(listing)
        entries.append(manifest.Dataset(name, f"data/{name}", digest, 3, files=count))
    (project / "data/changed/1").write_text("7")
    obtained = []
    monkeypatch.setattr(replay_data.retrieval, "obtain", lambda entry, *_: obtained.append(entry.name))

    def shown(in_container: bool, may_show: bool) -> list[tuple[Path, Path]]:
        obtained.clear()
        result: list[tuple[Path, Path]] = replay_data.put(entries, checkout, [project], in_container, may_show)
        shutil.rmtree(checkout / "data", ignore_errors=True)
        return result

    many = [(project / "data/many", checkout / "data/many")]
    assert shown(False, True) == shown(True, True) == many and obtained == ["few", "changed", "linked"]
    monkeypatch.setattr(read_only, "is_possible", lambda *_: False)
    assert shown(True, True) == many
    assert shown(False, True) == shown(True, False) == [] and obtained == [*kinds]


#: Registers a folder, and dies without a word where it is told to.
DYING = """
import os, sys
from bikes.reproducibility.datasets import register
def die(*arguments, **options):
    os._exit(9)
room, _, name = sys.argv[2].rpartition(".")
place = getattr(register, room) if room else register
former = getattr(place, name)
setattr(place, name, die if sys.argv[3] == "before" else lambda *a, **o: (former(*a, **o), die()))
register.add(sys.argv[1], None, None, None, 1)
"""
POINTS = (
    *("download.fetch before", "download.fetch after", "copies.keep before", "copies.keep after"),
    *("manifest.write_manifest before", "manifest.write_manifest after", "write_whole before"),
)


@pytest.mark.slow
def test_a_data_add_that_was_killed_is_done_by_the_same_command(project: Project, tmp_path: Path) -> None:
    pictures, copy = tmp_path / "pictures", project.path / "data/pictures"
    for number in range(9):
        (pictures / f"ü{number % 2}").mkdir(parents=True, exist_ok=True)
        (pictures / f"ü{number % 2}" / str(number)).write_text(f"of {number}")
    add = ("data-add", str(pictures), "--limit", "1")

    def killed(point: str) -> None:
        program = [str(project.path / ".venv/bin/python"), "-c", DYING, str(pictures), *point.split()]
        done = project.run(*program, check=False)
        assert done.returncode == 9, done.stdout

    for point in POINTS:
        killed(point)
        project.just(*add)
        assert folders.scan(copy) == folders.scan(pictures)
        assert "all as registered" in project.just("data-check").stdout
        (pictures / "ü0/0").write_text(f"changed after {point}")
        killed(point)
        project.just(*add)
        assert folders.scan(copy) == folders.scan(pictures)
        shutil.rmtree(copy)
        project.just("data-check", "--restore")
        assert folders.scan(copy) == folders.scan(pictures)
    project.commit()
    assert not [name for name in project.git("ls-files", "data").split() if ".part" in name or "pictures/" in name]
    assert [*(project.path / "data").glob(".fetch-*.part")], "which `just doctor` removes when it is old"


@pytest.mark.slow
def test_twenty_thousand_files_are_kept_restored_and_executed_again(project: Project, tmp_path: Path) -> None:
    count = 20_000
    for number in range(count):
        file = tmp_path / "many" / str(number % 100) / f"{number} ü"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(number.to_bytes(4, "little") * 25)
    project.just("data-add", str(tmp_path / "many"))
    assert entry(project, "many")["files"] == count
    train = project.path / "bikes/train.py"
    train.write_text(
        train.read_text("utf-8").replace("def train(", "def _train(")
        + "\ndef train(settings, run):\n"
        + "    run.stage('sum', sum(path.read_bytes()[0] for path in run.path('many').rglob('* ü')))\n"
        + "    return _train(settings, run)\n",
        "utf-8",
    )
    project.commit()
    project.just("train", *QUICK)
    run = project.runs()[0]
    reproduced = project.just("reproduce", run.info.run_id)
    assert "identical" in reproduced.stdout and "getting data/many" not in reproduced.stdout
    shutil.rmtree(project.path / "data/many")
    assert "many is missing" in refused(project.just("data-check", check=False))
    project.just("data-check", "--restore")
    assert "2 datasets, all as registered" in project.just("data-check").stdout


@pytest.mark.slow
def test_a_second_clone_gets_the_data_from_the_store(project: Project, tmp_path: Path) -> None:
    (tmp_path / "pictures/ü").mkdir(parents=True)
    (tmp_path / "pictures/none").mkdir()
    (tmp_path / "pictures/ü/1").write_text("one")
    project.just("data-add", str(tmp_path / "pictures"), "--limit", "1")
    project.commit()
    clone = Project(tmp_path / "clone")
    project.git("clone", "--quiet", str(project.path), str(clone.path))
    (clone.path / ".venv").symlink_to(project.path / ".venv")
    assert not (clone.path / "data/pictures").exists()
    told = refused(clone.just("data-check", "--restore", check=False))
    assert "the registered bytes of data/pictures/" in told
    store = f"sqlite:///{project.path / 'mlflow.db'}"
    clone.just("data-check", "--restore", MLFLOW_TRACKING_URI=store)
    assert folders.scan(clone.path / "data/pictures") == folders.scan(tmp_path / "pictures")
    assert "all as registered" in clone.just("data-check").stdout


# --- Copies ---------------------------------------------------------------------
@pytest.fixture
def cloning(tmp_path: Path) -> Iterator[Path]:
    """A small file system that can clone files; skip where none can be made."""
    image, folder = tmp_path / "image", tmp_path / "btrfs"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    make = shutil.which("mkfs.btrfs", path=os.defpath + ":/sbin:/usr/sbin")
    commands = ([make or "mkfs.btrfs", "--quiet", str(image)], ["mount", "-o", "loop", str(image), str(folder)])
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs mkfs.btrfs and the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_clone_is_a_copy_that_takes_no_room_where_the_file_system_can(cloning: Path) -> None:
    original = cloning / "original"
    original.write_bytes(os.urandom(30 << 20))
    for number in range(9):
        files.clone(original, cloning / str(number))
    assert (cloning / "8").read_bytes() == original.read_bytes()
    before = original.read_bytes()
    with (cloning / "0").open("r+b") as copy:
        copy.write(b"spoiled")
    assert original.read_bytes() == before and not original.samefile(cloning / "0")


def test_clone_is_a_copy_where_the_file_system_cannot(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "original").write_bytes(b"one")
    (tmp_path / "copy").write_bytes(b"something longer")
    files.clone(tmp_path / "original", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"one"
    files.clone(tmp_path / "original", small_disk / "copy")
    (small_disk / "copy").write_bytes(b"spoiled")
    assert (tmp_path / "original").read_bytes() == b"one"
    (tmp_path / "large").write_bytes(b"0" * 300_000)
    with pytest.raises(OSError, match=re.escape("No space left")):
        files.clone(tmp_path / "large", small_disk / "large")
