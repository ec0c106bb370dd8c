"""A lock that one process holds at a time, while it builds something."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from .errors import ProjectError
from .waiting import holders, is_locked, patiently

#: How long one process waits for what another builds, in seconds: an environment, at the worst.
PATIENCE = 1800


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the right to build one thing; the system takes it back from a process that dies.

    Raises
    ------
    ProjectError
        If the lock cannot be had: another process holds it for longer than `PATIENCE`, or its file cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)))
            patiently(lambda: lock.execute("BEGIN EXCLUSIVE"), file, f"the right to make {path.name}", PATIENCE)
        except sqlite3.DatabaseError as error:
            if is_locked(error):
                raise ProjectError(f"{file} is still locked by {holders(file)}.", "Wait for it, or end it.") from error
            raise ProjectError(
                f"the lock {file} cannot be used: {error}.", f"ls -l {shlex.quote(str(file))}      who may write it?"
            ) from error
        yield
