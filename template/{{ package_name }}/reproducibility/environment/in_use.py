"""The lock of an environment: shared by all commands that work in it, held alone to delete or rebuild it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..common.errors import ProjectError
from ..common.waiting import patiently

#: In an environment: the file whose lock is meant. The system takes it back from a process that dies.
NAME = "in-use.lock"
#: The environments that this process works in, until it ends.
_held: dict[Path, sqlite3.Connection] = {}


def hold(prefix: Path) -> None:
    """Share the lock of an environment until this process ends; wait while it is deleted or rebuilt."""
    path = prefix.resolve() / NAME
    if path in _held:
        return
    # Where nothing can be written, nothing can be deleted either.
    with contextlib.suppress(ProjectError):
        _held[path] = _lock(prefix, "BEGIN")


@contextlib.contextmanager
def alone(prefix: Path) -> Iterator[None]:
    """Have an environment alone, for its deletion or rebuilding; wait for the commands that work in it.

    What this process itself holds of it is given back.
    """
    path = prefix.resolve() / NAME
    if path in _held:
        _held.pop(path).close()
    with contextlib.closing(_lock(prefix, "BEGIN EXCLUSIVE")) as connection:
        if os.name == "nt":  # which deletes no open file
            connection.close()
        yield


def _lock(prefix: Path, begin: str) -> sqlite3.Connection:
    path = prefix.resolve() / NAME

    def attempt() -> sqlite3.Connection:
        with contextlib.ExitStack() as stack:
            # Opened anew each time: the environment may be another by now.
            connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            stack.callback(connection.close)
            connection.execute(begin)
            connection.execute("SELECT count(*) FROM sqlite_master")  # BEGIN alone locks nothing yet
            stack.pop_all()
            return connection

    try:
        return patiently(attempt, path, f"the environment {prefix}")
    except sqlite3.DatabaseError as error:
        raise ProjectError(f"{path} cannot be locked: {error}.", "Mend its permissions.") from error
