"""Whether a file is the one that was registered."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from ..common import digest
from ..common.errors import ProjectError
from .manifest import Dataset

#: How a file begins that Git LFS left in the place of the content.
POINTER = b"version https://git-lfs.github.com/spec/v1\n"


def verify(dataset: Dataset, progress: Callable[[int], object] | None = None) -> None:
    """Compare a file with its entry; `progress` is called as by `digest.of_file`.

    Raises
    ------
    ProjectError
        Naming the dataset, what was expected and what was found, how to accept the file as it is now
        and how to get the old one back.
    """
    if not dataset.file.exists():
        raise ProjectError(
            f"dataset {dataset.name!r}: {dataset.path} is missing.",
            "just data-check --restore",
        )
    found = digest.of_file(dataset.file, progress)
    if found != dataset.digest:
        refuse_pointer(dataset.file, dataset.path)
        raise ProjectError(
            f"dataset {dataset.name!r}: {dataset.path} is not the file that was registered.\n"
            f"  expected {dataset.digest} ({dataset.size:,} bytes)\n"
            f"  found    {found} ({dataset.file.stat().st_size:,} bytes)",
            f"to accept it as it is now: just data-add {shlex.quote(dataset.path)} --name {shlex.quote(dataset.name)}\n"
            "to get the old one back:   just data-check --restore",
        )


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
