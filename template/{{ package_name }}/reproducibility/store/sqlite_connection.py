"""Connections to a store of SQLite's: each call waits for whoever has locked it, and says in one line what is wrong."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any, TypeVar

from ..common.errors import ProjectError
from ..common.waiting import holders, is_locked, patiently

T = TypeVar("T")
#: How long a store is waited for that others have locked, in seconds. A training of hours shall not be lost.
PATIENCE = 900.0
#: The same once a run is to be ended, or a wait was in vain: who comes later closes it.
HURRY = 3.0
_limit = [PATIENCE]
#: The databases whose calls wait.
_waiting: set[str] = set()


def be_patient() -> None:
    """Wait as long as a training is worth, from now on."""
    _limit[0] = PATIENCE


def hurry() -> None:
    """Wait no longer than seconds from now on: what comes is to end a run, and must itself come to an end."""
    _limit[0] = HURRY


def connect(path: Path) -> sqlite3.Connection:
    """Open a database."""
    return ask(path, lambda: sqlite3.connect(path, timeout=0, factory=_Connection))


def wait_for_others(path: Path) -> None:
    """Have MLflow open a database as `connect` does."""
    if not _waiting:
        from alembic.config import Config
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "do_connect", _open)
        Config.set_main_option = partialmethod(_set_option, Config.set_main_option)  # type: ignore[assignment]
    _waiting.add(os.path.abspath(path))  # noqa: PTH100 - as SQLAlchemy does, which follows no links


def ask(path: Path, question: Callable[[], T]) -> T:
    """Ask a database, and wait for those who have locked it."""
    try:
        return patiently(question, path, "the store", _limit[0])
    except sqlite3.DatabaseError as error:
        if is_locked(error):
            hurry()
            raise ProjectError(
                f"the store {path} is still locked by {holders(path)}.",
                "Wait for that process or end it, then try again. Nothing is wrong with the store: leave it where it\n"
                "is. A run that could not be ended is ended by: just doctor",
            ) from error
        told = _trouble(error, path)
        if told is None:
            raise
        raise ProjectError(f"the store {path} cannot be used: {error}.", told) from error


def _open(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
    if arguments and arguments[0] in _waiting:
        options |= {"factory": _Connection, "timeout": 0}


def _set_option(config: Any, setter: Callable[..., None], name: str, value: str) -> None:
    """Tell Alembic where MLflow lies also if there is a % in that path: MLflow forgets that it is a sign there."""
    setter(config, name, value.replace("%%", "%").replace("%", "%%") if name == "script_location" else value)


class _Cursor(sqlite3.Cursor):
    def execute(self, sql: str, *parameters: Any) -> _Cursor:
        if sql.startswith("PRAGMA busy_timeout"):  # MLflow's 20 seconds, in which Ctrl-C would not be answered
            return self
        return ask(self.connection.file, lambda: super(_Cursor, self).execute(sql, *parameters))  # type: ignore[attr-defined]

    def executemany(self, sql: str, *parameters: Any) -> _Cursor:
        return ask(self.connection.file, lambda: super(_Cursor, self).executemany(sql, *parameters))  # type: ignore[attr-defined]


class _Connection(sqlite3.Connection):
    def __init__(self, file: str, *arguments: Any, **options: Any) -> None:
        super().__init__(file, *arguments, **options)
        self.file = Path(file)

    def cursor(self, *arguments: Any) -> Any:
        return super().cursor(*(arguments or (_Cursor,)))

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return _Cursor(self).execute(sql, *parameters)

    def commit(self) -> None:
        ask(self.file, super().commit)


def _trouble(error: sqlite3.DatabaseError, path: Path) -> str | None:
    """Say what to do about an error that is the machine's or the file's, not the question's."""
    code, folder = getattr(error, "sqlite_errorcode", 0) & 0xFF, shlex.quote(str(path.parent))
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return f"Free disk space, then try again: df -h {folder}"
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return f"Who may write the file and its folder? ls -ld {folder} {shlex.quote(str(path))}"
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return (
            "Put a backup in its place; or leave it and begin another store, by MLFLOW_TRACKING_URI in .env:\n"
            "MLFLOW_TRACKING_URI=sqlite:///another.db just train"
        )
    return None
