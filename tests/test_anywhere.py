"""From where a run says that it can be reproduced: the data that it read must be elsewhere than in its folder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from conftest import importing

pytestmark = pytest.mark.e2e

PACKAGE = "anywhere_under_test"
CONTENT = b"a,b\n1,2\n3,4\n"


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ModuleType]]:
    """The modules of a project that is pushed, with data of every kind."""
    folder = tmp_path_factory.mktemp("anywhere") / "project"
    with importing(folder, PACKAGE) as load:
        for name in ("ignored", "untracked", "committed", "changed"):
            (folder / "data" / f"{name}.csv").write_bytes(CONTENT)
        with (folder / ".gitignore").open("a") as ignored:
            ignored.write("/data/ignored.csv\n")
        git(folder, "init", "--quiet", "--bare", f"{folder}.git")
        git(folder, "init", "--quiet")
        git(folder, "add", "--all", ":!data/untracked.csv")
        git(folder, "commit", "--quiet", "--no-verify", "--message", "Start")
        git(folder, "remote", "add", "origin", f"{folder}.git")
        git(folder, "push", "--quiet", "origin", "HEAD")
        yield load


#: File, source, whether the tracking store has a copy; from where, and how often the store was asked.
CASES = {
    "only here": ("ignored", "unknown", False, "here", 1),
    "a path as the source": ("ignored", "/data/ignored.csv", False, "here", 1),
    "a source that nothing here can fetch": ("ignored", "ftp://host/x.csv", False, "here", 1),
    "a stored copy": ("ignored", "unknown", True, "anywhere", 1),
    "an address": ("ignored", "https://host/x.csv", False, "anywhere", 0),
    "a bucket": ("ignored", "s3://bucket/x.csv", False, "anywhere", 0),
    "another run": ("ignored", f"runs:/{'0' * 32}/x.csv", False, "anywhere", 0),
    "committed": ("committed", "unknown", False, "anywhere", 0),
    "uncommitted": ("untracked", "unknown", False, "anywhere", 0),
    "written since": ("changed", "unknown", False, "here", 1),
}


@pytest.mark.parametrize("what", CASES)
def test_data_of_which_only_this_folder_has_the_bytes_is_only_here(
    harness: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    name, source, copied, where, questions = CASES[what]
    digest, copies, asked = harness("common.digest").of_bytes(CONTENT), harness("datasets.copies"), []
    monkeypatch.setattr(copies, "find", lambda content: asked.append(content) or copied or None)
    entry = harness("datasets.manifest").Dataset(name, f"data/{name}.csv", digest, len(CONTENT), source)
    recorder = harness("record.recorder").Recorder("train", {}, {"seed": 1, "threads": 1}, {}, [])
    if what == "written since":
        entry.file.write_bytes(b"another")
    recorder.note_data([entry])
    assert recorder._say_from_where() == where and asked == [digest] * questions
    told = capsys.readouterr().err
    assert (f"dataset '{name}'" in told and f"just data-add data/{name}.csv" in told) == (where == "here")


def test_a_replay_is_not_asked_from_where(
    harness: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = harness("record.recorder")
    monkeypatch.setenv(recorder.REPLAY, "1")
    entry = harness("datasets.manifest").Dataset(
        "ignored", "data/ignored.csv", harness("common.digest").of_bytes(CONTENT), 12
    )
    recorder = recorder.Recorder("train", {}, {"seed": 1, "threads": 1}, {}, [])
    recorder.note_data([entry])
    assert recorder._say_from_where() == "anywhere" and not capsys.readouterr().err
