"""Wait for the lock of a SQLite file so that Ctrl-C is answered, and say who holds it."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from . import terminal

T = TypeVar("T")
#: Seconds between the first two tries, and between later ones; and how long a wait is not worth a word.
SHORTEST, PAUSE, SILENT = 0.001, 0.05, 1.0


def patiently(attempt: Callable[[], T], file: Path, what: str, limit: float = math.inf) -> T:
    """Do what the lock of another process may keep from being done yet.

    Parameters
    ----------
    attempt : callable
        What is tried, until nobody's lock is in the way.
    file : Path
        The SQLite file.
    what : str
        What is waited for, for the notice: a noun.
    limit : float, optional
        How long to wait at most, in seconds; for ever by default.

    Raises
    ------
    sqlite3.DatabaseError
        If the file is locked still, or something else is wrong with it.
    """
    begun, told = time.monotonic(), False
    pause = SHORTEST
    while True:
        try:
            return attempt()
        except sqlite3.DatabaseError as error:
            waited = time.monotonic() - begun
            if not is_locked(error) or waited >= limit:
                raise
        # SQLite's own wait, in C, would not answer Ctrl-C.
        time.sleep(min(pause, limit))
        pause = min(2 * pause, PAUSE)
        if not told and waited >= min(SILENT, limit / 2):
            terminal.notice(
                f"waiting for {what}, {file}, which is locked by {holders(file)}; {_duration(limit)}, Ctrl-C ends it."
            )
            told = True


def is_locked(error: sqlite3.DatabaseError) -> bool:
    """Tell whether another's lock is the reason, and a second try may succeed."""
    code = getattr(error, "sqlite_errorcode", 0)
    # In a transaction that has read before another wrote, a second try never succeeds.
    return code & 0xFF == sqlite3.SQLITE_BUSY and code != sqlite3.SQLITE_BUSY_SNAPSHOT


def is_free(lock: Path) -> bool:
    """Tell whether a lock of `locking.exclusive` is there and nobody holds it; False too where we may not ask."""
    try:
        if not lock.exists():
            return False
        with contextlib.closing(sqlite3.connect(lock, timeout=0, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
    except (OSError, sqlite3.DatabaseError):
        return False
    return True


def holders(file: Path) -> str:
    """Name the processes that hold locks of a SQLite file, where the system tells: Linux does."""
    found = {}
    for part in (file, Path(f"{file}-shm")):
        with contextlib.suppress(OSError):
            status = part.stat()
            name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
            for line in Path("/proc/locks").read_text().splitlines():
                words = line.split()
                if name in words and "->" not in words and int(words[4]) not in {os.getpid(), 0, -1}:
                    found[int(words[4])] = _describe(int(words[4]))
    return " and ".join(found.values()) or "another process, maybe of another machine or container"


def _describe(process: int) -> str:
    try:
        import pwd

        command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        owner = pwd.getpwuid(Path(f"/proc/{process}").stat().st_uid).pw_name
    except (ImportError, OSError, KeyError):
        return f"process {process}"
    command = " ".join(command.split())
    return f"process {process} of {owner} ({command[:57] + '...' if len(command) > 60 else command})"


def _duration(seconds: float) -> str:
    if seconds == math.inf:
        return "as long as it takes"
    return f"for {f'{seconds / 60:.0f} minutes' if seconds >= 120 else f'{seconds:.0f} s'} at most"
