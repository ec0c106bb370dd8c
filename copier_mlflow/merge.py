"""Three-way merge of folders: what the template was, what you made of it, and what the template is now."""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath

from .git import environment, run_git
from .scratch import temporary_folder

#: A file of which at least this share of lines stands in another was moved there.
SIMILAR = 0.5
#: Where `write` puts what it writes before it replaces anything; git ignores such names in a project.
SCRATCH = ".template-update.part"


class Kind(StrEnum):
    """What an update does to a file, in the order of its report."""

    CONFLICTING = "conflicting"
    BLOCKED = "blocked"
    MOVED = "moved"
    RETIRED = "retired"
    KEPT = "kept"
    REMOVED = "removed"
    MERGED = "merged"
    NEW = "new"
    DELETED = "deleted"
    UPDATED = "updated"


@dataclass(frozen=True)
class File:
    """A file's bytes, and whether it can be executed."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True)
class Change:
    """What an update does to one file.

    Parameters
    ----------
    path : str
        Relative to the project.
    kind : Kind
        What happens to it.
    note : str
        What a person wants to know of it.
    result : File, optional
        What is written. Without it the file is deleted, if that is its kind, or left alone.
    old, yours, new : File, optional
        The file as the template had it, as you have it, and as the template has it now.
    """

    path: str
    kind: Kind
    note: str = ""
    result: File | None = None
    old: File | None = None
    yours: File | None = None
    new: File | None = None


def plan(
    old: Path, new: Path, project: Path, is_yours: Callable[[Path], bool], versions: tuple[str, str]
) -> list[Change]:
    """Say what an update does to every file of the template's. Writes nothing.

    Parameters
    ----------
    old, new : Path
        The template as it was when the project was last rendered, and as it is to be.
    project : Path
        The project, with your edits.
    is_yours : callable
        Tells of a path whether it is yours from the first commit, and so not looked at.
    versions : tuple of str
        What `old` and `new` are called beside the markers of a conflict.

    Returns
    -------
    list of Change
        In the order of the report. Files that stay as they are do not stand in it.
    """
    tracked = set(os.fsdecode(run_git("ls-files", "-z", folder=project)).split("\0"))
    before, after = (_read_all(folder, is_yours) for folder in (old, new))
    own = tracked - before.keys() - after.keys()
    here = {path: read(project, path) for path in before.keys() | after.keys()}
    going = {
        path
        for path in before.keys() - after.keys()
        if (yours := here[path]) and _content(yours, before[path]) == before[path].content
    }
    changes = []
    for path, yours in here.items():
        was, now = before.get(path), after.get(path)
        obstacle = _obstacle(project, path, tracked, going)
        if obstacle:
            change = None if now in (None, was, yours) else Change(path, Kind.BLOCKED, f"not written: {obstacle}")
        elif yours is None:
            change = _bring(path, was, now, project, own)
        else:
            change = _merge(path, was, yours, now, versions)
        if change:
            changes.append(replace(change, old=was, yours=yours, new=now))
    return in_order(changes)


def in_order(changes: list[Change]) -> list[Change]:
    """Sort changes as the report shows them."""
    return sorted(changes, key=lambda change: (list(Kind).index(change.kind), change.path))


def results(changes: list[Change]) -> dict[str, File | None]:
    """Give what a plan writes and, as None, what it deletes; files that are left alone do not stand in it."""
    return {change.path: change.result for change in changes if change.result or change.kind is Kind.DELETED}


def read(folder: Path, path: str) -> File | None:
    """Read a file; None where there is none, or something else."""
    file = folder / path
    if file.is_symlink() or not file.is_file():
        return None
    return File(file.read_bytes(), bool(file.stat().st_mode & 0o100))


def write(project: Path, files: Mapping[str, File | None]) -> None:
    """Write files, and delete those that are None: nothing is replaced before everything is on the disk.

    Parameters
    ----------
    project : Path
        The folder.
    files : Mapping
        By their paths in it.
    """
    remove_scratch(project)
    drafts = project / SCRATCH
    drafts.mkdir()
    try:
        for number, file in enumerate(files.values()):
            if file:
                (drafts / str(number)).write_bytes(file.content)
                mode = (drafts / str(number)).stat().st_mode
                (drafts / str(number)).chmod(mode | (mode & 0o444) >> 2 if file.executable else mode)
        for path, file in files.items():
            if file is None:
                (project / path).unlink(missing_ok=True)
                _remove_empty(project, PurePosixPath(path).parent)
        for number, (path, file) in enumerate(files.items()):
            if file:
                (project / path).parent.mkdir(parents=True, exist_ok=True)
                (drafts / str(number)).replace(project / path)
    finally:
        remove_scratch(project)


def remove_scratch(project: Path) -> None:
    """Remove the folder that a `write` which was killed left."""
    shutil.rmtree(project / SCRATCH, ignore_errors=True)


def mark(project: Path, changes: list[Change]) -> None:
    """Tell git which files are in conflict, and which are new.

    It names those in conflict, and commits none before they were added again. The new ones are added, since git
    may be told to ignore files of their names, and would then neither show nor commit nor undo them.
    """
    prefix = run_git("rev-parse", "--show-prefix", folder=project).decode().strip()
    lines = []
    for change in changes:
        if change.kind is Kind.CONFLICTING:
            stages = list(enumerate((change.old, change.yours, change.new), 1))
        elif change.kind is Kind.NEW:
            stages = [(0, change.new)]
        else:
            continue
        for position, (stage, side) in enumerate((stage, side) for stage, side in stages if side):
            name = run_git("hash-object", "-w", "--stdin", "--no-filters", folder=project, text=side.content)
            if stage and not position:  # what the index has of it goes
                lines.append(f"0 {'0' * len(name.strip())}\t{prefix}{change.path}")
            mode = "100755" if side.executable else "100644"
            lines.append(f"{mode} {name.decode().strip()} {stage}\t{prefix}{change.path}")
    if lines:
        run_git("update-index", "--add", "--index-info", folder=project, text="\n".join([*lines, ""]).encode())


def favour_yours(change: Change) -> File | None:
    """Merge a file in conflict without markers: where both sides changed the same lines, yours stand."""
    if change.yours is None or change.new is None:
        return change.yours
    old = change.old.content if change.old else b""
    content, _ = _merge_lines(old, change.yours.content, change.new.content, ("", ""), "--ours")
    return File(content, change.yours.executable)


def to_take_over(change: Change) -> str:
    """Show what a person has to take over, as a unified diff: what the template changed, or they in what is no more."""
    is_yours = change.kind is Kind.RETIRED
    sides = (change.old, change.yours if is_yours else change.new)
    old, new = (side.content.decode(errors="replace").splitlines() if side else [] for side in sides)
    before, after = (f"{side}/{change.path}" for side in ("template", "yours" if is_yours else "template"))
    return "\n".join(difflib.unified_diff(old, new, before, after, lineterm=""))


def closest(content: bytes, others: Iterable[tuple[str, bytes]], least: float) -> str | None:
    """Name the content that shares most lines with another, if it is at least that share."""
    lines, best, found = content.splitlines(), least, None
    for name, other in others:
        matcher = difflib.SequenceMatcher(None, lines, other.splitlines(), autojunk=False)
        # The cheap ones are upper bounds of the dear one.
        if matcher.real_quick_ratio() >= best and matcher.quick_ratio() >= best and matcher.ratio() >= best:
            best, found = matcher.ratio(), name
    return found


def _merge(path: str, old: File | None, yours: File, new: File | None, versions: tuple[str, str]) -> Change | None:
    if new is None:
        if old and _content(yours, old) == old.content:
            return Change(path, Kind.DELETED)
        return Change(path, Kind.KEPT, "the template has it no more; you had edited it, so it is yours now")
    mine = _content(yours, old or new)
    note = ""
    if old and mine == old.content:
        kind, content = Kind.UPDATED, new.content
    elif old and new.content == old.content:
        kind, content = Kind.MERGED, mine
    else:
        content, conflicts = _merge_lines(old.content if old else b"", mine, new.content, versions)
        kind = Kind.CONFLICTING if conflicts else Kind.MERGED
        if conflicts:
            note = "" if old else "you had added it too"
        if conflicts and content == mine:
            note = f"no text: yours stands; `git checkout --theirs {shlex.quote(path)}` takes the template's"
    executable = new.executable if old and yours.executable == old.executable else yours.executable
    result = File(content if mine == yours.content else content.replace(b"\n", b"\r\n"), executable)
    return Change(path, kind, note, result) if kind is Kind.CONFLICTING or result != yours else None


def _merge_lines(old: bytes, yours: bytes, new: bytes, versions: tuple[str, str], *options: str) -> tuple[bytes, bool]:
    """Merge contents; where that cannot be done, both stand between markers. Of binary files yours stands."""
    if yours == new:
        return yours, False
    labels = [f"-L{label}" for label in ("yours", f"template {versions[0]}", f"template {versions[1]}")]
    with temporary_folder("merge") as folder:
        for name, content in (("yours", yours), ("old", old), ("new", new)):
            Path(folder, name).write_bytes(content)
        options = ("-c", "merge.conflictStyle=merge", "merge-file", "-p", *options, *labels)
        command = ["git", *options, "yours", "old", "new"]
        # Whatever repository a hook may name: git is to find none here.
        done = subprocess.run(command, capture_output=True, cwd=folder, env=environment())
    # From 128 on, git could not: a binary file, for which it gives 255.
    return (yours, True) if done.returncode >= 128 else (done.stdout, done.returncode > 0)


def _bring(path: str, old: File | None, new: File | None, project: Path, own: set[str]) -> Change | None:
    """Decide about a file that the project has not got: new, or deleted or moved by its user."""
    if new is None or new == old:
        return None
    if old is None:
        return Change(path, Kind.NEW, result=new)
    there = _find_moved(old, project, own)
    if there:
        return Change(path, Kind.MOVED, f"you moved it to {there}, where it was not updated: compare the two")
    return Change(path, Kind.REMOVED, "you deleted it, so it stays away")


def _find_moved(old: File, project: Path, own: set[str]) -> str | None:
    """Find the file of the user's that holds most of another's lines."""
    size = len(old.content)
    files = ((path, project / path) for path in sorted(own))
    likely = ((path, file) for path, file in files if file.is_file() and size <= 2 * file.stat().st_size <= 4 * size)
    contents = ((path, _content(File(file.read_bytes()), old)) for path, file in likely)
    return closest(old.content, contents, SIMILAR) if size else None


def _obstacle(project: Path, path: str, tracked: set[str], going: set[str]) -> str:
    """Say what keeps a file from being written; what the update itself takes away does not."""
    for parent in PurePosixPath(path).parents[:-1]:
        if str(parent) not in going and ((project / parent).is_symlink() or (project / parent).is_file()):
            return f"{parent} is no folder"
    file = project / path
    if file.is_symlink():
        return "it is a link"
    inside = (other for other in file.rglob("*") if not other.is_dir())
    if file.is_dir() and any(other.relative_to(project).as_posix() not in going for other in inside):
        return "it is a folder"
    if file.is_file() and path not in tracked:
        return "git does not track the file that is there"
    return ""


def _read_all(folder: Path, is_yours: Callable[[Path], bool]) -> dict[str, File]:
    found = {}
    for file in folder.rglob("*"):
        path = file.relative_to(folder)
        if file.is_file() and not is_yours(path):
            found[path.as_posix()] = File(file.read_bytes(), bool(file.stat().st_mode & 0o100))
    return found


def _content(yours: File, other: File) -> bytes:
    """Give a file's content with the line ends of another, if all of its own are those of Windows."""
    windows = yours.content.count(b"\r\n") == yours.content.count(b"\n")
    return yours.content.replace(b"\r\n", b"\n") if windows and b"\r\n" not in other.content else yours.content


def _remove_empty(project: Path, folder: PurePosixPath) -> None:
    """Remove folders that a deleted file leaves empty, as git does."""
    while folder.name and (project / folder).is_dir() and not any((project / folder).iterdir()):
        (project / folder).rmdir()
        folder = folder.parent
