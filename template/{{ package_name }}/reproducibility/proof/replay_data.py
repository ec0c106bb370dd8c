"""The data of a replay: in its checkout, with no way back to where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from ..common import strict_yaml
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..common.files import write_whole
from ..datasets import retrieval, verification
from ..datasets.manifest import Dataset
from ..source.checkout import inside
from . import read_only

#: What a copy of takes long: bytes, and files.
LARGE, MANY = 1 << 24, 500


def put(
    entries: Iterable[Dataset], project: Path, folders: Iterable[Path], in_container: bool, may_show: bool
) -> list[tuple[Path, Path]]:
    """Make sure that datasets lie in a checkout as they were registered, or can be shown there.

    Parameters
    ----------
    entries : iterable of Dataset
        Which.
    project : Path
        The project in the checkout.
    folders : iterable of Path
        Projects that may have them.
    in_container : bool
        Whether the replay is executed in a container, to which everything can be shown.
    may_show : bool
        Whether what is large may be shown where it is, so that it is not copied.

    Returns
    -------
    list of (Path, Path)
        What is to be shown to the replay, read-only, and where in the checkout. That it is as registered may only be
        remembered: the replay itself reads every byte of what it uses.

    Raises
    ------
    ProjectError
        With exit code 2, if one cannot be had.
    """
    shown = []
    for entry in entries:
        _cut_links(project, entry.path)
        target = inside(project, entry.path)
        if verification.fits(entry, target):
            continue
        if may_show and _is_large(entry) and not target.exists() and _is_here(entry):
            _make_place(entry, target)
            if in_container or read_only.is_possible(entry.file, target):
                shown.append((entry.file, target))
                continue
            target.rmdir() if entry.files else target.unlink()
        try:
            retrieval.obtain(entry, target, folders)
        except ProjectError as error:
            raise ProjectError(error.cause, error.fix, CANNOT_BE_TRIED) from error
    return shown


def _is_large(entry: Dataset) -> bool:
    return entry.size > LARGE or entry.files > MANY


def _is_here(entry: Dataset) -> bool:
    """Tell whether this folder has a dataset as it was, without links, through which others could be written."""
    try:
        verification.verify(entry, remember=True)
    except ProjectError:
        return False
    return not any(_links(entry.file))


def _links(place: Path) -> Iterator[Path]:
    """Find the links below a folder by what it says itself: to ask each of many files takes a second."""
    if not place.is_dir():
        return
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir():
                yield from _links(Path(entry.path))


def _make_place(entry: Dataset, target: Path) -> None:
    """Make what something can be shown over: a file, or a folder with its listing beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.files:
        target.mkdir()
        write_whole(entry.listing_of(target), entry.listing.read_bytes())
    else:
        target.touch()


def register(entries: Iterable[Dataset], manifest: Path) -> None:
    """Enter datasets into a data/datasets.yaml.

    Raises
    ------
    ProjectError
        With exit code 2, if it is none.
    """
    try:
        known = (strict_yaml.parse(manifest.read_text("utf-8")) or {}) | {
            entry.name: entry.entry() for entry in entries
        }
    except (ProjectError, OSError, UnicodeError, TypeError) as error:
        why = error.cause if isinstance(error, ProjectError) else error
        raise ProjectError(
            f"data/datasets.yaml of the run's code cannot be used: {why}",
            "Look at that file in the run's commit.",
            CANNOT_BE_TRIED,
        ) from error
    manifest.write_text(yaml.safe_dump(known, sort_keys=False), "utf-8")


def _cut_links(project: Path, path: str) -> None:
    """Take links that lead out of a checkout away from its data: through them a training could write into originals."""
    place = Path(os.path.normpath(project / path))
    for folder in reversed(place.parents):
        if folder.is_relative_to(project / "data") and folder != project / "data":
            cut(folder, project)
    cut(place, project)
    for link in [*_links(place)]:
        cut(link, project)


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
