"""Where the code went of modules that a version of the template has no more, for those who had edited them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from . import merge
from .git import run_git
from .merge import Change, Kind
from .modules import list_modules, read_blobs
from .template import Template

#: A module in which at least this share of another's lines stands holds code of it.
SHARE = 0.1
#: Shorter lines, as `return None`, may be from anywhere, and so may imports.
SHORT = 12
TOOL = "copier_mlflow/"
Places = Mapping[str, set[bytes]]


def tell(changes: list[Change], source: Template, commit: str, package: str) -> list[Change]:
    """Say of edited modules where their code is now, if it is elsewhere: there the edit is without effect.

    Parameters
    ----------
    changes : list of Change
        What an update does.
    source : Template
        The template.
    commit : str
        The version to which it updates.
    package : str
        The name of the project's package.

    Returns
    -------
    list of Change
        The same, with `Kind.RETIRED` for those that are no more and whose code was found.
    """
    kinds = {Kind.KEPT: Kind.RETIRED, Kind.CONFLICTING: Kind.CONFLICTING, Kind.MERGED: Kind.MERGED}
    asked = [change for change in changes if change.kind in kinds and change.old and change.path.endswith(".py")]
    if not asked:
        return changes
    places = _places(source, commit, package)
    told = {}
    for change in asked:
        found = _find(change.old.content, places) if change.old else []
        if found and change.path not in found:
            told[change.path] = replace(change, kind=kinds[change.kind], note=f"now in {', '.join(found)}")
    return merge.in_order([told.get(change.path, change) for change in changes])


def _find(content: bytes, places: Places) -> list[str]:
    """Name the modules that hold the code of another, the first that which holds most; else the folders of such."""
    lines = _lines(content)
    votes: dict[str, float] = defaultdict(float)
    for line in lines:
        there = [name for name, others in places.items() if line in others]
        for name in there:  # a line that many modules have says little
            votes[name] += 1 / len(there) / len(lines)
    of_folders: dict[str, float] = defaultdict(float)
    for name, vote in votes.items():
        of_folders[name.rpartition("/")[0]] += vote
    found = _elected(votes) or _elected(of_folders)
    # What the tool and a project have alike is looked for in the project.
    return [name for name in found if not name.startswith(TOOL)] or found


def _elected(votes: Mapping[str, float]) -> list[str]:
    return [name for name in sorted(votes, key=lambda name: -votes[name]) if votes[name] >= SHARE]


def _places(source: Template, commit: str, package: str) -> Places:
    """Read the lines of every module of a version: those of a project's harness, and those of the tool."""
    places = list_modules(source, commit, package)
    for line in run_git("ls-tree", commit, TOOL, folder=source.folder).decode().splitlines():
        entry, name = line.split("\t")
        if name.endswith(".py"):
            places[f"{name} of the template's repository"] = {entry.split()[2]}
    lines = {blob: _lines(content) for blob, content in read_blobs(source, set().union(*places.values())).items()}
    return {name: set().union(*(lines[blob] for blob in blobs)) for name, blobs in places.items()}


def _lines(content: bytes) -> set[bytes]:
    lines = (line.strip() for line in content.splitlines())
    return {line for line in lines if len(line) > SHORT and not line.startswith((b"from ", b"import "))}
