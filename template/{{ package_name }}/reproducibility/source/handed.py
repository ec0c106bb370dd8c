"""The code of a run, handed to a container or a node: what was captured outside, for a place that has no .git."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..common import digest
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..common.project import ROOT
from .snapshot import Source

#: Names the folder in which it lies, inside.
VARIABLE = "REPRO_HANDED"
#: Where no harness is outside, but `docker run --env` alone: the commit, as the person who calls it knows it.
TOLD = "REPRO_COMMIT"
#: What the harness of an image of any later commit reads too: keys may be added, none changed.
VERSION = 1
CODE, CONTAINER = "source.json", "container.json"
#: Of `Source`, what is another inside, or lies in files of its own.
APART = {"root", "top", "patch", "repositories", "handed"}


def write(folder: Path, source: Source, container: dict[str, str] | None = None) -> None:
    """Write what is handed over: the code of a run, and to a container the facts of its image."""
    repositories = [_entry(code) for code in (source, *source.repositories)]
    # Bytes of a file's name that are no UTF-8 become escapes, which JSON reads as they were.
    (folder / CODE).write_text(json.dumps({"version": VERSION, "repositories": repositories}), "utf-8")
    if container is not None:
        (folder / CONTAINER).write_text(json.dumps(container), "utf-8")
    for number, code in enumerate((source, *source.repositories)):
        (folder / f"{number}.patch").write_bytes(code.patch)


def take(root: Path = ROOT) -> Source | None:
    """Take the code of the run that this process does; None where nothing was handed over, nor told.

    Raises
    ------
    ProjectError
        If a later harness has written what this one cannot read.
    """
    folder = _folder()
    if folder is None:
        return _told(root)
    content = json.loads((folder / CODE).read_text("utf-8"))
    if content["version"] != VERSION:
        raise ProjectError(
            f"the harness outside hands over its code in version {content['version']}; the image's knows {VERSION}.",
            "Take one of the template's release that this commit was made with, or leave the container out.",
            CANNOT_BE_TRIED,
        )
    source, *inner = [
        _source(entry, root, (folder / f"{number}.patch").read_bytes())
        for number, entry in enumerate(content["repositories"])
    ]
    source.repositories = inner
    return source


def container() -> dict[str, Any]:
    """Give the facts of the image in which this process runs, as `environment.container` has them; empty outside."""
    file = (_folder() or Path()) / CONTAINER
    return {"container": json.loads(file.read_text("utf-8"))} if file.is_absolute() and file.exists() else {}


def _folder() -> Path | None:
    return Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None


def _told(root: Path) -> Source | None:
    commit = os.environ.get(TOLD, "")
    if not re.fullmatch("[0-9a-f]{40}([0-9a-f]{24})?", commit) or shutil.which("git"):
        return None
    unsure = f"there is no git here to see whether the code is that of commit {commit[:10]}, as {TOLD} says"
    return Source(root, commit=commit, only_here=[unsure], handed=True)


def _entry(source: Source) -> dict[str, Any]:
    return {name: value for name, value in vars(source).items() if name not in APART}


def _source(entry: dict[str, Any], project: Path, patch: bytes) -> Source:
    known = {field.name for field in fields(Source)} - APART
    root = project / entry["path"]
    source = Source(root, top=root, patch=patch, handed=True, **{name: entry[name] for name in known & entry.keys()})
    source.blobs = {path: (mode, blob) for path, (mode, blob) in source.blobs.items()}
    # In the image a file is as git stores it, and nobody writes it; what is mounted is the one outside.
    source.converted = {path: wanted for path, wanted in source.converted.items() if digest.fits(root / path, wanted)}
    source.written = {path: then for path, then in source.written.items() if _is_of(root / path, then)}
    return source


def _is_of(file: Path, then: int) -> bool:
    return file.exists() and file.stat().st_mtime_ns == then
