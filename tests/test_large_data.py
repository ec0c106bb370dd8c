"""Data outside the project: below a data root, or where links lead; and copies that take no room."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project, refused
from test_folders import QUICK, entry

import harness

files, folders = harness.load("common.files"), harness.load("datasets.folders")
manifest = harness.load("datasets.manifest")
ProjectError = harness.load("common.errors").ProjectError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root, and a project beside it."""
    monkeypatch.setattr(manifest, "ROOT", tmp_path / "p")
    monkeypatch.setattr(manifest, "options", lambda: {"data": str(tmp_path / "mnt")})
    (tmp_path / "p/data").mkdir(parents=True)
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

    assert "identical" in project.just("reproduce", run.info.run_id).stdout
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
