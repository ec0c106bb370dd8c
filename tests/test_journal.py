"""An update that is killed, at whatever moment, is known to the next command and taken back whole."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from updates import commit, git, tree

from copier_mlflow import files, journal, locks, merge, template, update, updating
from copier_mlflow.errors import ProjectError
from harness import load

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

File, Change, Kind = merge.File, merge.Change, merge.Kind
#: What tells of a write, or of a process that writes: the audit events of CPython.
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "subprocess.Popen"}


@pytest.fixture(params=["", pytest.param("team/", marks=pytest.mark.slow)])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project at the top of its repository, or in a folder of it, with files of every kind that an update changes."""
    folder = tmp_path / "repository" / str(request.param)
    (folder / "deep").mkdir(parents=True)
    git(tmp_path / "repository", "init", "--quiet")
    files = {
        template.ANSWERS: "_commit: 1.0.0\n",
        "justfile": "old\n",
        "MLproject": "a\nmine\n",
        ".gitignore": "/.env\n",
    }
    for name, text in {**files, "deep/gone.txt": "old\n", "constraints.txt": "lock\n", "mine.py": "mine\n"}.items():
        (folder / name).write_text(text)
    commit(tmp_path / "repository")
    (folder / ".env").write_text("SECRET=1\n")
    (folder / "mlflow.db").write_text("untracked, and ignored by a person's own settings\n")
    (tmp_path / "repository/.git/info/exclude").write_text("mlflow.db\n")
    return folder


def make_update(project: Path) -> update.Update:
    def change(path: str, kind: str, result: str | None, new: str | None = None) -> Change:
        yours, written = merge.read(project, path), result and File(result.encode())
        return Change(path, kind, "", written or None, yours, yours, File(new.encode()) if new else written or None)

    changes = [
        change("MLproject", Kind.CONFLICTING, "<<<<<<<\nmine\n=======\ntheirs\n>>>>>>>\n", "a\ntheirs\n"),
        change("new/deep/file.txt", Kind.NEW, "new\n"),
        change("deep/gone.txt", Kind.DELETED, None),
        change("justfile", Kind.UPDATED, "new\n"),
        change(template.ANSWERS, Kind.UPDATED, "_commit: 2.0.0\n"),
    ]
    return update.Update("1.0.0", "2.0.0", "", changes, [])


def lock(project: Path, before: object) -> bool:
    for name in ("constraints.txt", "constraints-dev.txt", "constraints-cluster.txt"):
        files.write_whole(project / name, "new lock\n")
    return True


def lock_and_die(project: Path, before: object) -> None:
    lock(project, before)
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(point: int, body: Callable[[], object], below: Path) -> bool:
    """Do something in a process of its own, killed before its nth write; False if it came to its end before."""
    child = os.fork()
    if not child:
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            writes = event in WRITES or (event == "open" and isinstance(arguments[1], str) and "w" in arguments[1])
            if writes and (event == "subprocess.Popen" or str(below) in str(arguments[0])):
                count += 1
                if count == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        code = 70
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.e2e
def test_an_update_killed_before_any_of_its_writes_is_taken_back_whole(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "bring_in_step", lock)
    before = tree(project)
    halves = set()
    for point in range(1, 1000):
        if not killed_at(point, lambda: update.perform(project, make_update(project)), project.parent):
            break
        half = tree(project) != before or git(project, "status", "--porcelain") != ""
        halves.add(half)
        assert journal.is_unfinished(project) or not half, f"at {point} nobody would know"
        journal.take_back(project)
        assert tree(project) == before, f"killed at {point}"
        assert git(project, "status", "--porcelain") == ""
        assert not journal.is_unfinished(project)
    assert point > 25 and halves == {True, False}
    assert not journal.is_unfinished(project)
    assert (project / "justfile").read_text() == "new\n"
    assert "UU MLproject" in git(project, "status", "--porcelain", ".").replace("team/", "")


@pytest.mark.slow
def test_taking_back_that_is_killed_itself_is_taken_up_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "bring_in_step", lock_and_die)
    before = tree(project)
    for point in range(1, 1000):
        assert killed_at(10**6, lambda: update.perform(project, make_update(project)), project)
        ended = not killed_at(point, lambda: journal.take_back(project), project.parent)
        assert journal.is_unfinished(project) or tree(project) == before
        journal.take_back(project)
        assert tree(project) == before
        assert git(project, "status", "--porcelain") == ""
        if ended:
            break
    assert point > 10


@pytest.fixture
def cut_off(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose update was killed while it compiled the locks."""
    with monkeypatch.context() as patch:
        patch.setattr(locks, "bring_in_step", lock_and_die)
        assert killed_at(10**6, lambda: update.perform(project, make_update(project)), project)
    return project


def test_the_next_command_knows(
    cut_off: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ProjectError, match="was cut off") as refused:
        updating.run(cut_off, None, {}, check=True)
    assert refused.value.fix.startswith("just template-update ")
    doctor = load("cli.doctor")
    monkeypatch.setattr(doctor, "ROOT", cut_off)
    well, said, fix = doctor._template()
    assert not well and "cut off" in said and fix.startswith("just template-update ")
    monkeypatch.setattr(update, "prepare", lambda *_: None)
    (cut_off / template.ANSWERS).write_text("_src_path: x\n_commit: 1.0.0\n")  # edited since then
    with pytest.raises(ProjectError, match=r"uncommitted work: .*answers"):
        updating.run(cut_off, None, {})
    assert "It is taken back" in capsys.readouterr().out


def test_what_was_edited_since_the_kill_is_left_and_what_a_lock_was_is_kept(cut_off: Path) -> None:
    (cut_off / "justfile").write_text("mine since then\n")
    (cut_off / "constraints.txt").write_text("my upgrade\n")
    (cut_off / "mine.py").write_text("edited\n")
    git(cut_off, "add", "mine.py")
    told = journal.take_back(cut_off)
    assert (cut_off / "justfile").read_text() == "mine since then\n"
    assert (cut_off / "constraints.txt").read_text() == "lock\n"
    assert (cut_off / "mine.py").read_text() == "edited\n"
    prefix = git(cut_off, "rev-parse", "--show-prefix")
    assert git(cut_off, "status", "--porcelain").splitlines() == [f"M {prefix}justfile", f"M  {prefix}mine.py"]
    assert told[0] == "justfile was changed since then, and is left as it is"
    [kept] = [line for line in told if line.startswith("constraints.txt")]
    assert git(cut_off, *kept.partition("git ")[2].split()) == "my upgrade"


def test_an_update_that_goes_on_is_not_taken_for_one_that_was_cut_off(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        locks, "bring_in_step", lambda *asked: seen.append(journal.is_unfinished(asked[0])) or lock(*asked)
    )
    update.perform(project, make_update(project))
    assert seen == [False]
