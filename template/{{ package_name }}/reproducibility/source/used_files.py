"""What commit and patches hold of the files that a run used: what it imported, and its datasets."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from ..common import digest, terminal
from .blobs import blob_of_file
from .capture import capture_inner
from .git import git
from .left_out import SENSITIVE, looks_secret
from .snapshot import Source


def settle(source: Source, imported: Mapping[Path, bytes]) -> dict[str, str]:
    """Make the record hold what the run imported, which may have been edited before or after the capture.

    Parameters
    ----------
    source : Source
        The project.
    imported : Mapping of Path to bytes
        The files that Python imported, as they were then.

    Returns
    -------
    dict of str to str
        The digest of each, by its path relative to the project.
    """
    modules = {}
    edited: dict[str, dict[str, bytes]] = {}
    # To ask the disk for each of a hundred files of few folders takes longer than to hash them.
    shown = functools.cache(lambda folder: _shown(source, folder))
    placed = functools.cache(lambda folder: _placed(source, folder.resolve()))
    for file, content in sorted(imported.items()):
        path = (shown(file.parent) / file.name).as_posix()
        modules[path] = digest.of_bytes(content)
        if source.commit == "none" or source.dirty == "unknown":
            continue
        real = file.resolve() if file.is_symlink() else file
        code, folder = placed(real.parent)
        if code is None:
            source.leave_out(path, "the run imported it, and it belongs to no commit of this project", modules[path])
            continue
        own = (folder / real.name).as_posix()
        if code.holds(own, content):
            continue
        if source.handed:
            source.leave_out(path, "the run imported it, and the image has not got it", modules[path])
        elif git("check-ignore", "--quiet", "--", own, folder=code.root) is not None:
            source.leave_out(path, "the run imported it, and git ignores it", modules[path])
        elif looks_secret(own, content) or path in {entry["path"] for entry in source.left_out}:
            source.leave_out(path, SENSITIVE, modules[path])
        else:
            edited.setdefault(code.path, {})[own] = content
            terminal.notice(f"{path} was edited while the run went on. It is recorded as imported.")
    for code in (source, *source.repositories):
        if code.path in edited:
            code.amend(edited[code.path])
    others = {path for code in (source, *source.repositories) for path in code.rewritten()} - modules.keys()
    for path in sorted(others):
        terminal.notice(f"{path} was written while the run went on. Recorded as it was before.")
    return modules


def has(source: Source, file: Path, wanted: str) -> bool:
    """Tell whether a file of the project is in commit or patch, and has the bytes of a digest."""
    code, folder = _placed(source, file.parent)
    if code is None:
        return False
    path = (folder / file.name).as_posix()
    if path in code.converted:
        return code.converted[path] == wanted
    known = code.blobs.get(path)
    return known is not None and digest.fits(file, wanted) and known[1] == blob_of_file(file, code.commit)


def _shown(source: Source, folder: Path) -> Path:
    """Name a folder as the record does: relative to the project, or absolute where it is of no repository of it."""
    return _beside(folder, source.root) if folder.is_relative_to(source.top) else folder


def _placed(source: Source, folder: Path) -> tuple[Source | None, Path]:
    """Find the repository of a folder, and name the folder relative to that."""
    code = _repository_of(source, folder)
    return code, _beside(folder, code.root.resolve()) if code else folder


def _repository_of(source: Source, folder: Path) -> Source | None:
    """Find the repository in which a folder lies; one that was not known before is captured now."""
    if source.handed:
        around = [code for code in (source, *source.repositories) if folder.is_relative_to(code.root)]
        return max(around, key=lambda code: len(code.root.parts), default=None)
    top = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    if top == source.top:
        return source
    if top is None or not top.is_relative_to(source.top):
        return None
    if top not in {code.top for code in source.repositories}:
        capture_inner(source, _beside(top, source.root.resolve()).as_posix())
    return next((code for code in source.repositories if code.top == top), None)


def _beside(path: Path, folder: Path) -> Path:
    """Give a path relative to a folder, also where it does not lie in it; absolute on another drive."""
    return Path(os.path.relpath(path, folder))
