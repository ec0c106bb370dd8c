"""The code of a run as it is handed to a container: nothing is lost, and nothing is falsely said, where no git is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_git import commit, nasty, record, run, write

import harness

__all__ = ["nasty"]

capture = harness.load("source.capture").capture
handed = harness.load("source.handed")
used_files = harness.load("source.used_files")
digest = harness.load("common.digest")
ProjectError = harness.load("common.errors").ProjectError

FACTS = {"image": "sha256:1", "base": "python@sha256:2", "engine": "docker 1", "builder": "legacy builder 1"}


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hand a project's code over and take it where it lies in a container: without .git, git and the times of files."""

    def go(outside: Path) -> Any:
        code = capture(outside)
        folder, root = tmp_path / "handed", tmp_path / "app"
        folder.mkdir()
        handed.write(folder, code, FACTS)
        shutil.copytree(outside, root, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        for file in root.rglob("*"):
            os.utime(file, (1, 1), follow_symlinks=False)
        (tmp_path / "nothing").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        monkeypatch.setenv(handed.VARIABLE, str(folder))
        return code, handed.take(root)

    return go


def test_what_is_handed_over_is_what_was_captured(nasty: Path, inside: Any) -> None:
    inner = nasty / "vendor" / "tools"
    commit(inner, tool__py="T = 1\n")
    write(inner, tool__py="T = 2\n")
    write(nasty, **{"secrets.yaml": "password: x\n"})
    code, taken = inside(nasty)
    assert taken.patch and taken.repositories[0].patch and taken.left_out and taken.only_here
    assert record(taken) == record(code)
    assert taken.reproducible == code.reproducible == "here"
    assert handed.container() == {"container": FACTS}


def test_what_a_run_used_is_known_without_git(tmp_path: Path, inside: Any, capsys: pytest.CaptureFixture[str]) -> None:
    outside = tmp_path / "bikes"
    commit(outside, **{"code.py": "C = 1\n", "data/x.csv": "a\n1\n", "data/.gitignore": "big.csv\n"})
    commit(outside / "vendor", tool__py="T = 1\n")
    write(outside, **{"code.py": "C = 2\n", "new.py": "N = 1\n", "data/big.csv": "b\n"})
    _, code = inside(outside)
    root = code.root
    names = ("code.py", "new.py", "vendor/tool.py")
    imported = {root / name: (root / name).read_bytes() for name in names}
    assert list(used_files.settle(code, imported)) == sorted(names)
    assert used_files.has(code, root / "data/x.csv", digest.of_file(root / "data/x.csv"))
    assert not used_files.has(code, root / "data/big.csv", digest.of_file(root / "data/big.csv"))
    assert code.left_out == [] and capsys.readouterr().err == ""

    # What the image has not got is no part of commit or patch, and the record says so.
    (root / "code.py").write_text("C = 3\n")
    used_files.settle(code, {root / "code.py": b"C = 3\n", Path("/elsewhere/made.py"): b"M = 1\n"})
    assert {entry["path"] for entry in code.left_out} == {"/elsewhere/made.py", "code.py"}
    assert code.reproducible == "no"


def test_a_mounted_file_that_is_written_meanwhile_is_told(
    tmp_path: Path, inside: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "bikes"
    commit(outside, **{"code.py": "C = 1\n", "data/x.csv": "a\n1\n"})
    code, _ = inside(outside)
    mounted = tmp_path / "app" / "data" / "x.csv"
    os.utime(mounted, ns=(1, code.written["data/x.csv"]))
    code = handed.take(tmp_path / "app")
    used_files.settle(code, {})
    assert capsys.readouterr().err == ""
    mounted.write_text("a\n2\n")
    used_files.settle(code, {})
    assert "data/x.csv was written while the run went on" in capsys.readouterr().err


def test_line_ends_are_those_of_the_image_or_of_the_mount(tmp_path: Path, inside: Any) -> None:
    outside = tmp_path / "bikes"
    commit(outside, **{"code.py": "C = 1\r\n", "data/x.csv": "a\r\n1\r\n", ".gitattributes": "* text=auto eol=crlf\n"})
    run(outside, "add", "--renormalize", ".")
    _, code = inside(outside)
    assert {"code.py", "data/x.csv"} <= code.converted.keys()
    (code.root / "code.py").write_bytes(b"C = 1\n")  # as git stores it
    code = handed.take(code.root)
    assert "code.py" not in code.converted
    used_files.settle(code, {code.root / "code.py": b"C = 1\n"})
    assert code.left_out == []
    assert used_files.has(code, code.root / "data/x.csv", digest.of_bytes(b"a\r\n1\r\n"))


def test_keys_of_a_later_harness_are_passed_over_and_a_later_version_is_refused(tmp_path: Path, inside: Any) -> None:
    outside = tmp_path / "bikes"
    commit(outside, code__py="C = 1\n")
    code, taken = inside(outside)
    file = tmp_path / "handed" / handed.CODE
    content = json.loads(file.read_text())
    content["repositories"][0]["later"] = content["later"] = {"of": "another release"}
    file.write_text(json.dumps(content))
    assert record(handed.take(taken.root)) == record(code)
    file.write_text(json.dumps(content | {"version": handed.VERSION + 1}))
    with pytest.raises(ProjectError) as refused:
        handed.take(taken.root)
    assert refused.value.exit_code == 2 and refused.value.fix


def test_nothing_is_taken_where_nothing_was_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(handed.VARIABLE, raising=False)
    assert handed.take() is None
    assert handed.container() == {}


def test_a_commit_that_was_only_told_is_taken_for_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "code.py").write_text("C = 1\n")
    monkeypatch.setenv(handed.TOLD, "0" * 40)
    assert handed.take(tmp_path) is None, "git knows better"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    code = handed.take(tmp_path)
    assert (code.commit, code.dirty, code.tree, code.reproducible) == ("0" * 40, "unknown", "", "here")
    assert handed.TOLD in code.only_here[0]
    used_files.settle(code, {tmp_path / "code.py": b"C = 1\n"})
    assert code.left_out == [] and capsys.readouterr().err == ""
    monkeypatch.setenv(handed.TOLD, "main; rm -r /")
    assert handed.take(tmp_path) is None
