"""Three-way merge of folders: what the template was, what you made of it, and what the template is now."""

from __future__ import annotations

import difflib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from .source import run_git

#: A file of which at least this share of lines stands in another was moved there.
SIMILAR = 0.5


class Kind(StrEnum):
    """What an update does to a file, in the order of its report."""

    CONFLICTING = "conflicting"
    BLOCKED = "blocked"
    MOVED = "moved"
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
    sides : tuple of File or None
        Of a conflict: the file as the template had it, as you have it, and as the template has it now.
    """

    path: str
    kind: Kind
    note: str = ""
    result: File | None = None
    sides: tuple[File | None, ...] = ()


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
    tracked = set(run_git("ls-files", "-z", folder=project).decode().split("\0"))
    before, after = (_read_all(folder, is_yours) for folder in (old, new))
    own = tracked - before.keys() - after.keys()
    going = {path for path in before.keys() - after.keys() if _is(read(project, path), before[path])}
    changes = []
    for path in before.keys() | after.keys():
        sides = (before.get(path), read(project, path), after.get(path))
        obstacle = _obstacle(project, path, tracked, going)
        if obstacle:
            change = _refuse(path, obstacle, *sides)
        elif sides[1] is None:
            change = _bring(path, sides[0], sides[2], project, own)
        else:
            change = _merge(path, sides[0], sides[1], sides[2], versions)
        if change:
            changes.append(change)
    return sorted(changes, key=lambda change: (list(Kind).index(change.kind), change.path))


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
    scratch = Path(tempfile.mkdtemp(prefix=".update-", dir=project))
    try:
        for number, file in enumerate(files.values()):
            if file:
                (scratch / str(number)).write_bytes(file.content)
                mode = (scratch / str(number)).stat().st_mode
                (scratch / str(number)).chmod(mode | (mode & 0o444) >> 2 if file.executable else mode)
        for path, file in files.items():
            if file is None:
                (project / path).unlink(missing_ok=True)
                _remove_empty(project, PurePosixPath(path).parent)
        for number, (path, file) in enumerate(files.items()):
            if file:
                (project / path).parent.mkdir(parents=True, exist_ok=True)
                (scratch / str(number)).replace(project / path)
    finally:
        shutil.rmtree(scratch)


def mark(project: Path, changes: list[Change]) -> None:
    """Tell git which files are in conflict: it then names them, and commits none before they were added again."""
    prefix = run_git("rev-parse", "--show-prefix", folder=project).decode().strip()
    lines = []
    for change in changes:
        if change.kind is Kind.CONFLICTING:
            path = f"{prefix}{change.path}"
            stages = []
            for stage, side in enumerate(change.sides, 1):
                if side:
                    stored = run_git("hash-object", "-w", "--stdin", "--no-filters", folder=project, text=side.content)
                    mode = "100755" if side.executable else "100644"
                    stages.append(f"{mode} {stored.decode().strip()} {stage}\t{path}")
            lines += [f"0 {'0' * 40}\t{path}", *stages]
    if lines:
        run_git("update-index", "--index-info", folder=project, text="\n".join([*lines, ""]).encode())


def favour_yours(change: Change) -> File | None:
    """Merge a file in conflict without markers: where both sides changed the same lines, yours stand."""
    old, yours, new = change.sides
    if yours is None or new is None:
        return yours
    content, _ = _merge_lines(old.content if old else b"", yours.content, new.content, ("", ""), "--ours")
    return File(content, yours.executable)


def template_change(change: Change) -> str:
    """Show what the template changed in a file, as a unified diff."""
    old, new = (side.content.decode(errors="replace").splitlines() if side else [] for side in change.sides[::2])
    return "\n".join(difflib.unified_diff(old, new, f"template/{change.path}", f"template/{change.path}", lineterm=""))


def _merge(path: str, old: File | None, yours: File, new: File | None, versions: tuple[str, str]) -> Change | None:
    mine = _unix(yours)
    if new is None:
        if mine == old:
            return Change(path, Kind.DELETED)
        return Change(path, Kind.KEPT, "the template has it no more; you had edited it, so it is yours now")
    if old is not None and mine.content == old.content:
        kind, content, note = Kind.UPDATED, new.content, ""
    elif old is not None and new.content == old.content:
        kind, content, note = Kind.MERGED, mine.content, ""
    else:
        content, conflicts = _merge_lines(old.content if old else b"", mine.content, new.content, versions)
        kind = Kind.CONFLICTING if conflicts else Kind.MERGED
        note = "you had added it too" if conflicts and not old else ""
    executable = new.executable if old and mine.executable == old.executable else mine.executable
    result = File(content if mine == yours else content.replace(b"\n", b"\r\n"), executable)
    if kind is Kind.CONFLICTING:
        return Change(path, kind, note, result, (old, yours, new))
    return Change(path, kind, note, result) if result != yours else None


def _merge_lines(old: bytes, yours: bytes, new: bytes, versions: tuple[str, str], *options: str) -> tuple[bytes, bool]:
    """Merge contents; where that cannot be done, both stand between markers. Of binary files yours stands."""
    if yours == new:
        return yours, False
    labels = [f"-L{label}" for label in ("yours", f"template {versions[0]}", f"template {versions[1]}")]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("yours", yours), ("old", old), ("new", new)):
            Path(folder, name).write_bytes(content)
        command = [
            "git",
            "-c",
            "merge.conflictStyle=merge",
            "merge-file",
            "-p",
            *options,
            *labels,
            "yours",
            "old",
            "new",
        ]
        done = subprocess.run(command, capture_output=True, cwd=folder)
    # From 128 on, git could not: a binary file, for which it gives 255.
    return (yours, True) if done.returncode >= 128 else (done.stdout, done.returncode > 0)


def _bring(path: str, old: File | None, new: File | None, project: Path, own: set[str]) -> Change | None:
    """Decide about a file that the project has not got: new, or deleted or moved by its user."""
    if new is None or new == old:
        return None
    if old is None:
        return Change(path, Kind.NEW, result=new)
    there = _find_moved(path, old, project, own)
    if there:
        return Change(
            path,
            Kind.MOVED,
            f"you moved it to {there}, where it was not updated: compare the two",
            sides=(old, None, new),
        )
    return Change(path, Kind.REMOVED, "you deleted it, so it stays away")


def _find_moved(path: str, old: File, project: Path, own: set[str]) -> str | None:
    lines = old.content.splitlines()
    best, found = SIMILAR, None
    for other in sorted(own):
        file = read(project, other) if PurePosixPath(other).suffix == PurePosixPath(path).suffix else None
        if file:
            matcher = difflib.SequenceMatcher(None, lines, _unix(file).content.splitlines(), autojunk=False)
            if matcher.real_quick_ratio() >= best and matcher.quick_ratio() >= best and matcher.ratio() >= best:
                best, found = matcher.ratio(), other
    return found


def _refuse(path: str, obstacle: str, old: File | None, yours: File | None, new: File | None) -> Change | None:
    if new in (None, old, yours):
        return None
    return Change(path, Kind.BLOCKED, f"not written: {obstacle}", sides=(old, yours, new))


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


def _is(file: File | None, other: File) -> bool:
    return file is not None and _unix(file) == other


def _unix(file: File) -> File:
    """Give a file with Unix line ends, if all of its line ends are those of Windows."""
    if file.content.count(b"\r\n") == file.content.count(b"\n"):
        return File(file.content.replace(b"\r\n", b"\n"), file.executable)
    return file


def _remove_empty(project: Path, folder: PurePosixPath) -> None:
    """Remove folders that a deleted file leaves empty, as git does."""
    while folder.name and not any((project / folder).iterdir()):
        (project / folder).rmdir()
        folder = folder.parent
