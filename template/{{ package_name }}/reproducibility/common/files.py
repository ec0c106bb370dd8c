"""Files named on the command line, and files written wholly or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from .project import ROOT

#: The request by which Linux makes a file of another's blocks, each of which is copied when one of both is written.
FICLONE = 0x40049409


def absolute(path: str) -> Path:
    """Make a path from the command line absolute: relative to where the person stands, else to the project."""
    here = Path(os.environ.get("INVOCATION_DIRECTORY", ".")) / path
    return here.resolve() if here.exists() else (ROOT / path).resolve()


def cache() -> Path:
    """Name the folder of this person in which things may lie that can be had again."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - raises nothing
    return Path(caches, "copier-mlflow")


def clone(source: Path, target: Path) -> None:
    """Copy a file's bytes: at once and without taking room, where the file system can."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        with source.open("rb") as old, target.open("wb") as new:
            fcntl.ioctl(new, FICLONE, old.fileno())
            return
    shutil.copyfile(source, target)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file wholly or not at all: to a temporary file beside it, then renamed over it.

    Text is written as UTF-8 with the line ends that it has.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
