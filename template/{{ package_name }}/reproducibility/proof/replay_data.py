"""The data of a replay: in its checkout, with no way back to where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..datasets import retrieval, verification
from ..datasets.manifest import Dataset
from ..source.checkout import inside


def put(entries: Iterable[Dataset], project: Path, folders: Iterable[Path]) -> None:
    """Make sure that datasets lie in a checkout as they were registered.

    Parameters
    ----------
    entries : iterable of Dataset
        Which.
    project : Path
        The project in the checkout.
    folders : iterable of Path
        Projects that may have them.

    Raises
    ------
    ProjectError
        With exit code 2, if one cannot be had.
    """
    for entry in entries:
        _cut_links(project, entry.path)
        target = inside(project, entry.path)
        if verification.fits(entry, target):
            continue
        try:
            retrieval.obtain(entry, target, folders)
        except ProjectError as error:
            raise ProjectError(error.cause, error.fix, CANNOT_BE_TRIED) from error


def _cut_links(project: Path, path: str) -> None:
    """Take links that lead out of a checkout away from its data: through them a training could write into originals."""
    place = Path(os.path.normpath(project / path))
    for folder in reversed(place.parents):
        if folder.is_relative_to(project / "data") and folder != project / "data":
            cut(folder, project)
    cut(place, project)
    for below, folders, files in os.walk(place):
        for name in (*folders, *files):
            cut(Path(below, name), project)


def cut(place: Path, folder: Path) -> None:
    """Remove what is a link that leads out of a folder."""
    if place.is_symlink() and not _leads_inside(place, folder):
        place.unlink()


def _leads_inside(link: Path, folder: Path) -> bool:
    try:
        inside(folder, str(link.relative_to(folder)))
    except ProjectError:
        return False
    return True
