"""Modules that the template has no more and an update left: Copier's, which deletes nothing, or that of 0.4 or 0.5."""

from __future__ import annotations

import os
from pathlib import Path

from . import merge, moved
from .git import run_git
from .merge import Change, File, Kind
from .modules import HARNESS, list_modules, read_blobs
from .template import Template

NOTE = "an earlier update left it"


def find(project: Path, source: Template, commit: str, package: str) -> list[Change]:
    """Find what earlier updates left in the harness of a project.

    Parameters
    ----------
    project : Path
        The project's folder.
    source : Template
        The template.
    commit : str
        The version that the project has, or gets.
    package : str
        The name of the project's package.

    Returns
    -------
    list of Change
        `Kind.DELETED` for a module that is as a release had it, `Kind.RETIRED` for one that was edited. Where the code
        of an edited one is nowhere any more, it is its user's and not named.
    """
    tracked = os.fsdecode(run_git("ls-files", "-z", "--", f"{package}{HARNESS}", folder=project)).split("\0")
    left = {path for path in tracked if path.endswith(".py")} - list_modules(source, commit, package).keys()
    if not left:
        return []
    versions: dict[str, dict[str, None]] = {path: {} for path in left}
    for release in source.releases():
        for path, blobs in list_modules(source, release, package).items():
            if path in left:
                versions[path] |= dict.fromkeys(blobs)
    here = {path: file for path in left if versions[path] and (file := merge.read(project, path))}
    contents = read_blobs(source, (blob for path in here for blob in versions[path]))
    changes = [_judge(path, file, [contents[blob] for blob in versions[path]]) for path, file in here.items()]
    return [change for change in moved.tell(changes, source, commit, package) if change.kind is not Kind.KEPT]


def _judge(path: str, yours: File, versions: list[bytes]) -> Change:
    content = yours.content.replace(b"\r\n", b"\n")
    lines = set(content.splitlines())
    old = min(versions, key=lambda version: len(lines ^ set(version.splitlines())))
    kind = Kind.DELETED if content == old else Kind.KEPT
    return Change(path, kind, NOTE, old=File(old), yours=yours)
