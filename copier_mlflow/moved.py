"""Where the code went of modules that a version of the template has no more, for those who had edited them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from . import merge
from .git import run_git
from .merge import Change, Kind
from .template import Template

#: A module of which at least this share of lines stands in another went there.
SIMILAR = 0.4
TOOL = "copier_mlflow/"


def tell(changes: list[Change], old: Path, new: Path, source: Template, commit: str) -> list[Change]:
    """Say of every edited module that the template has no more where its code is now: the edit is without effect.

    Parameters
    ----------
    changes : list of Change
        What an update does.
    old, new : Path
        The template as it was and as it is to be, rendered.
    source : Template
        Its repository.
    commit : str
        That of `new`.

    Returns
    -------
    list of Change
        The same, with `Kind.RETIRED` for those whose code was found.
    """
    lost = [change for change in changes if change.kind is Kind.KEPT and change.old and change.path.endswith(".py")]
    if not lost:
        return changes
    places = _modules(new, old) | _tool(source, commit)
    told = {change.path: _retire(change, places) for change in lost}
    return merge.in_order([told.get(change.path, change) for change in changes])


def _retire(change: Change, places: Mapping[str, bytes]) -> Change:
    there = merge.closest(change.old.content, places.items(), SIMILAR) if change.old else None
    if there is None:
        return change
    where = f"{there} of the template's repository" if there.startswith(TOOL) else there
    return replace(change, kind=Kind.RETIRED, note=f"its code is in {where} now; nothing uses what you edited here")


def _modules(new: Path, old: Path) -> dict[str, bytes]:
    """Read the modules that a render has and an earlier one had not."""
    names = (file.relative_to(new) for file in new.rglob("*.py"))
    return {name.as_posix(): (new / name).read_bytes() for name in names if not (old / name).exists()}


def _tool(source: Template, commit: str) -> dict[str, bytes]:
    listed = run_git("ls-tree", "--name-only", commit, TOOL, folder=source.folder).decode().splitlines()
    names = [name for name in listed if name.endswith(".py")]
    return {name: run_git("cat-file", "blob", f"{commit}:{name}", folder=source.folder) for name in names}
