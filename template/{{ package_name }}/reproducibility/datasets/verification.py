"""Whether a file or folder is the one that was registered."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from ..common import digest
from ..common.errors import ProjectError
from . import folders
from .manifest import Dataset

#: How a file begins that Git LFS left in the place of the content.
POINTER = b"version https://git-lfs.github.com/spec/v1\n"
#: No pointer has as many bytes.
LARGEST_POINTER = 1024


def verify(dataset: Dataset, progress: Callable[[int], object] | None = None, remember: bool = False) -> None:
    """Compare a file or folder with its entry.

    Parameters
    ----------
    dataset : Dataset
        The entry.
    progress : callable, optional
        Called as by `digest.of_file`.
    remember : bool, default False
        Whether what is unchanged since an earlier call, and was as registered then, is not read again.

    Raises
    ------
    ProjectError
        Naming the dataset, what was expected and what was found, how to accept it as it is now and how to get the
        old one back.
    """
    if not dataset.file.exists():
        raise ProjectError(
            f"dataset {dataset.name!r}: {dataset.path} is missing.",
            "just data-check --restore",
        )
    look = _folder_differs if dataset.files else _file_differs
    differs = look(dataset, progress, remember)
    if differs and remember:  # which may say that it is as registered, and never that it is not
        differs = look(dataset, progress)
    if differs:
        kind = "folder" if dataset.files else "file"
        raise ProjectError(
            f"dataset {dataset.name!r}: {dataset.path} is not the {kind} that was registered.\n{differs}",
            f"to accept it as it is now: just data-add {shlex.quote(dataset.path)} --name {shlex.quote(dataset.name)}\n"
            "to get the old one back:   just data-check --restore",
        )


def fits(dataset: Dataset, place: Path) -> bool:
    """Tell whether a place has a dataset as it was registered; a folder together with its listing."""
    if not dataset.files:
        return digest.fits(place, dataset.digest)
    listing = dataset.listing_of(place)
    if not (place.is_dir() and digest.fits(listing, dataset.digest)):
        return False
    return folders.parse(listing.read_bytes()) == folders.scan(place)


def _file_differs(dataset: Dataset, progress: Callable[[int], object] | None, remember: bool = False) -> str:
    if dataset.file.is_dir():
        return "  it is a folder now"
    found = folders.scan(dataset.file, progress, remember)[""]
    if found.digest == dataset.digest:
        return ""
    refuse_pointer(dataset.file, dataset.path)
    return f"  expected {dataset.digest} ({dataset.size:,} bytes)\n  found    {found.digest} ({found.size:,} bytes)"


def _folder_differs(dataset: Dataset, progress: Callable[[int], object] | None, remember: bool = False) -> str:
    if not dataset.file.is_dir():
        return "  it is a file now"
    expected = dataset.contents()
    return folders.differences(expected, folders.scan(dataset.file, progress, remember))


def refuse_pointer(file: Path, label: str) -> None:
    """Refuse a file that only says where Git LFS keeps the content."""
    if is_pointer(file):
        raise ProjectError(
            f"{label} is a pointer of Git LFS; its content was not fetched.",
            "git lfs install && git lfs pull      in the repository that it comes from.",
        )


def is_pointer(file: Path) -> bool:
    """Tell whether a file only says where Git LFS keeps the content."""
    with file.open("rb") as stream:
        return stream.read(len(POINTER)) == POINTER
