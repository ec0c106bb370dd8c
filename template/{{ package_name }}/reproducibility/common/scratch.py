"""Temporary folders: under one name, and locked while they are in use, so that what a kill left is known."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .locking import exclusive
from .project import PACKAGE, ROOT

#: Set for a replay, which runs in a folder of its own: the `PREFIX` of the project that it is of.
OWNER = "REPRO_SCRATCH"
#: Of the names of all of them. Another project may have a package of the same name.
PREFIX = os.environ.get(OWNER) or f"{PACKAGE}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}-"
#: What is locked in each.
LOCK = "alive"


@contextlib.contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Give a folder in the system's place for temporary files, with a word for it in its name; it is always removed."""
    folder = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}-", ignore_cleanup_errors=True)
    with folder as name, exclusive(Path(name, LOCK)):
        yield Path(name)
