"""Where the code went of modules that a version of the template has no more, for those who had edited them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from . import merge
from .git import run_git
from .merge import Change, Kind
from .modules import list_modules, read_blob
from .template import Template

#: A module in which at least this share of another's lines stands holds code of it.
SHARE = 0.2
#: Shorter lines, as `return None`, may be from anywhere, and so may imports.
SHORT = 12
TOOL = "copier_mlflow/"
Places = Mapping[str, set[bytes]]


def tell(changes: list[Change], source: Template, commit: str, package: str) -> list[Change]:
    """Say of every edited module that the template has no more where its code is now: the edit is without effect.

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
        The same, with `Kind.RETIRED` for those whose code was found.
    """
    kept = [change for change in changes if change.kind is Kind.KEPT and change.old and change.path.endswith(".py")]
    if not kept:
        return changes
    places = _places(source, commit, package)
    told = {change.path: _retire(change, places) for change in kept}
    return merge.in_order([told.get(change.path, change) for change in changes])


def _retire(change: Change, places: Places) -> Change:
    found = _find(change.old.content, places) if change.old else []
    return replace(change, kind=Kind.RETIRED, note=f"now in {' and '.join(found)}") if found else change


def _find(content: bytes, places: Places) -> list[str]:
    """Name the modules that hold the code of another, the first that which holds most."""
    lines = _lines(content)
    votes: dict[str, float] = defaultdict(float)
    for line in lines:
        there = [name for name, others in places.items() if line in others]
        for name in there:  # a line that many modules have says little
            votes[name] += 1 / len(there) / len(lines)
    return [name for name in sorted(votes, key=lambda name: -votes[name]) if votes[name] >= SHARE]


def _places(source: Template, commit: str, package: str) -> Places:
    """Read the lines of every module of a version: those of a project's harness, and those of the tool."""
    places = {
        path: set().union(*(_lines(read_blob(source, name)) for name in names))
        for path, names in list_modules(source, commit, package).items()
    }
    listed = run_git("ls-tree", "--name-only", commit, TOOL, folder=source.folder).decode().splitlines()
    tool = {name: _lines(read_blob(source, f"{commit}:{name}")) for name in listed if name.endswith(".py")}
    return places | {f"{name} of the template's repository": lines for name, lines in tool.items()}


def _lines(content: bytes) -> set[bytes]:
    lines = (line.strip() for line in content.splitlines())
    return {line for line in lines if len(line) > SHORT and not line.startswith((b"from ", b"import "))}
