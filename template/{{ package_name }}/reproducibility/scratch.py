"""Folders for work in progress: under one name, locked while in use, so that one that a kill left is known as such."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .project import PACKAGE, ROOT, exclusive

#: Of the names of all of them. Another project may have a package of the same name.
PREFIX = f"{PACKAGE}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}-"
#: What is locked in each.
LOCK = "alive"


@contextlib.contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """Give a folder in the system's place for temporary files, removed whatever happens.

    Parameters
    ----------
    purpose : str
        A word, which stands in its name.
    """
    folder = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}-", ignore_cleanup_errors=True)
    with folder as name, exclusive(Path(name, LOCK)):
        yield Path(name)
