"""Temporary folders: under one name, and locked while they are in use, so that what a kill left is known."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .files import exclusive, is_free

PREFIX = "copier-mlflow-"
#: What is locked in each.
LOCK = "alive"
#: Seconds after which a folder without a lock is nobody's: its process died before it could take one.
LONG_AGO = 3600


@contextlib.contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Give a folder in the system's place for temporary files, removed whatever happens.

    Parameters
    ----------
    purpose : str
        A word, which stands in its name.
    """
    folder = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}-", ignore_cleanup_errors=True)
    with folder as name, exclusive(Path(name, LOCK)):
        yield Path(name)


def remove_leftovers() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            old = time.time() - folder.stat().st_mtime > LONG_AGO
            if is_free(folder / LOCK) or (old and not (folder / f"{LOCK}.lock").exists()):
                shutil.rmtree(folder)
