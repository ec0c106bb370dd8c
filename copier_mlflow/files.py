"""Files written wholly or not at all, and locks that die with the process that holds them."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import ProjectError

#: How long one process waits for another that updates the same project, and between two looks, in seconds.
PATIENCE, PAUSE = 1800.0, 0.05


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file wholly or not at all: to a temporary file beside it, then renamed over it; text as UTF-8."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the right to make one thing; the system takes it back from a process that dies.

    The lock is that of every release's harness: SQLite's, of a file beside the path.

    Raises
    ------
    ProjectError
        If another process holds it for longer than `PATIENCE`, or its file cannot be used.
    """
    file = path.with_name(f"{path.name}.lock")
    end = time.monotonic() + PATIENCE
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)))
            # SQLite's own wait, in C, would not answer Ctrl-C.
            while not _begin(lock, last=time.monotonic() >= end):
                time.sleep(PAUSE)
        except sqlite3.DatabaseError as error:
            raise ProjectError(
                f"the lock {file} cannot be had: {error}.", f"ls -l {shlex.quote(str(file))}      who may write it?"
            ) from error
        yield


def is_free(path: Path) -> bool:
    """Tell whether a lock of `exclusive` is there and nobody holds it; False too where we may not ask."""
    file = path.with_name(f"{path.name}.lock")
    try:
        if not file.exists():
            return False
        with contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
            return _begin(connection, last=False)
    except (OSError, sqlite3.DatabaseError):
        return False


def _begin(connection: sqlite3.Connection, last: bool) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if last or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
