"""Digests of unchanged files are remembered: what changed is always read again, and a proof reads everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Project, refused

import harness

folders, remembered = harness.load("datasets.folders"), harness.load("datasets.remembered")
manifest, verification = harness.load("datasets.manifest"), harness.load("datasets.verification")
digest = harness.load("common.digest")
ProjectError = harness.load("common.errors").ProjectError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is remembered there")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that seem to have been written ten seconds ago, and a cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "WORTH", 0)
    monkeypatch.setattr(folders, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 10**10))
    for name in ("a", "ü/b", "c"):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(f"of {name}")
    return tmp_path / "folder"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Tell what was read since the last call."""
    paths: list[str] = []
    real = digest.of_file

    def of_file(path: Path, progress: object = None) -> str:
        paths.append(path.name)
        return str(real(path, progress))

    def told() -> list[str]:
        found = sorted(paths)
        paths.clear()
        return found

    monkeypatch.setattr(digest, "of_file", of_file)
    return told


def cache(folder: Path) -> Path:
    [file] = (folder.parent / "cache").glob("*/*")
    return file


def test_little_is_not_worth_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "WORTH", 10**6)
    folders.scan(folder, remember=True)
    assert not (folder.parent / "cache").exists()
    for number in range(20):
        (folder / str(number)).touch()
    folders.scan(folder, remember=True)
    assert cache(folder).exists()


def test_what_is_unchanged_is_read_once(folder: Path, hashed: Callable[[], list[str]]) -> None:
    first = folders.scan(folder, remember=True)
    assert hashed() == ["a", "b", "c"]
    assert folders.scan(folder, remember=True) == first and hashed() == []
    (folder / "c").write_text("of another")
    (folder / "d").write_text("new")
    (folder / "a").unlink()
    found = folders.scan(folder, remember=True)
    assert hashed() == ["c", "d"]
    assert found == folders.scan(folder) and hashed() == ["b", "c", "d"], "not asked to remember"
    assert json.loads(cache(folder).read_text())["places"][str(folder)].keys() == {"c", "d", "ü/b"}


def put_back(file: Path) -> None:
    status = file.stat()
    file.write_text("OF A")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def exchange(file: Path) -> None:
    status = file.stat()
    other = file.with_name("other")
    other.write_text("OF A")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize("change", [put_back, exchange])
def test_other_bytes_of_the_same_size_and_time_are_seen(
    folder: Path, hashed: Callable[[], list[str]], change: Callable[[Path], None]
) -> None:
    folders.scan(folder, remember=True)
    hashed()
    before = (folder / "a").stat()
    change(folder / "a")
    after = (folder / "a").stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert folders.scan(folder, remember=True)["a"].digest == digest.of_bytes(b"OF A")
    assert hashed() == ["a"]


def test_what_changed_within_two_seconds_of_hashing_is_not_remembered(
    folder: Path, hashed: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = (folder / "a").stat()
    monkeypatch.setattr(folders, "time", SimpleNamespace(time_ns=lambda: status.st_ctime_ns + 1_900_000_000))
    folders.scan(folder, remember=True)
    folders.scan(folder, remember=True)
    assert hashed() == ["a", "a", "b", "b", "c", "c"]


def test_what_changes_while_it_is_hashed_is_not_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = digest.of_file

    def of_file(path: Path, progress: object) -> str:
        content = str(real(path, progress))
        if path.name == "a":
            path.write_text("OF A")
        return content

    with monkeypatch.context() as patch:
        patch.setattr(digest, "of_file", of_file)
        folders.scan(folder, remember=True)
    assert folders.scan(folder, remember=True)["a"].digest == digest.of_bytes(b"OF A")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b'{"version": 2, "places": {}}', b'{"version": 1, "places": []}', b'{"version": 1}'],
)
def test_broken_memory_is_none(folder: Path, hashed: Callable[[], list[str]], content: bytes) -> None:
    first = folders.scan(folder, remember=True)
    hashed()
    cache(folder).write_bytes(content)
    assert folders.scan(folder, remember=True) == first and hashed() == ["a", "b", "c"]
    assert folders.scan(folder, remember=True) == first and hashed() == [], "and is whole again"


@pytest.mark.parametrize("wrong", ["sha256:00", 3, None])
def test_memory_that_lies_does_not_refuse_what_is_as_registered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: object
) -> None:
    monkeypatch.setattr(manifest, "ROOT", folder)
    entry = manifest.Dataset("a", "a", digest.of_bytes(b"of a"), 4)
    verification.verify(entry, remember=True)
    content = json.loads(cache(folder).read_text())
    content["places"][str(folder / "a")][""][0] = wrong
    cache(folder).write_text(json.dumps(content))
    verification.verify(entry, remember=True)
    (folder / "a").write_text("OF A")
    with pytest.raises(ProjectError, match="not the file that was registered"):
        verification.verify(entry, remember=True)


def test_memory_that_cannot_be_written_costs_nothing_but_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "cache").write_text("a file")
    assert folders.scan(folder, remember=True) == folders.scan(folder)


def test_several_processes_remember_at_once(folder: Path) -> None:
    program = (
        "import sys, time, types; sys.path.insert(0, sys.argv[1]); import harness; from pathlib import Path\n"
        "folders = harness.load('datasets.folders')\n"
        "folders.time = types.SimpleNamespace(time_ns=lambda: time.time_ns() + 10**10)\n"
        "folders.remembered.WORTH = 0\n"
        "place = Path(sys.argv[2]) / sys.argv[3]\n"
        "for _ in range(20):\n"
        "    folders.scan(place, remember=True)\n"
        "    folders.remembered._file().unlink(missing_ok=True)\n"
        "folders.scan(place, remember=True)\n"
    )
    scripts = str(Path(harness.__file__).parent)
    command = [sys.executable, "-c", program, scripts, str(folder)]
    processes = [subprocess.Popen([*command, name]) for name in ("a", "ü", "c")]
    assert [process.wait() for process in processes] == [0, 0, 0]
    places = json.loads(cache(folder).read_text())["places"]
    assert places and {len(entries) for entries in places.values()} == {1}


@pytest.mark.slow
def test_memory_serves_trainings_and_no_proof(project: Project, tmp_path: Path) -> None:
    """A lie is planted, by which changed bytes pass for the registered ones."""
    caches = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    data = project.path / "data/numbers.bin"
    data.write_bytes(os.urandom(20_000_000))
    project.just("data-add", "data/numbers.bin")
    train = project.path / "bikes/train.py"
    train.write_text(
        train.read_text("utf-8").replace("def train(", "def _train(")
        + "\ndef train(settings, run):\n    run.path('numbers')\n    return _train(settings, run)\n"
    )
    project.commit()
    quick = ("--set", "model.n_estimators=2")
    project.just("train", *quick, **caches)
    first = project.runs()[0]
    other = bytearray(data.read_bytes())
    other[0] ^= 1
    data.write_bytes(other)
    program = (
        "from bikes.reproducibility.datasets import folders, manifest, remembered\n"
        "entry = manifest.find('numbers')\n"
        "found = dict(folders.walk(entry.file))\n"
        "remembered.keep(entry.file, found, {'': entry.digest}, found[''].st_ctime_ns + 10**10)\n"
    )
    project.run(str(project.path / ".venv/bin/python"), "-c", program, **caches)
    project.just("train", *quick, **caches)
    for proof in (["data-check"], ["verify", *quick]):
        assert "numbers.bin is not the file that was registered" in refused(project.just(*proof, check=False, **caches))
    done = project.just("reproduce", first.info.run_id, **caches)
    assert "identical" in done.stdout, "from the store's copy"
