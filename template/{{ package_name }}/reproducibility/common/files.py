"""Files named on the command line, and files written wholly or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from .project import ROOT


def absolute(path: str) -> Path:
    """Make a path from the command line absolute: relative to where the person stands, else to the project."""
    here = Path(os.environ.get("INVOCATION_DIRECTORY", ".")) / path
    return here.resolve() if here.exists() else (ROOT / path).resolve()


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
