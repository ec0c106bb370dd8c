"""The store where it is a file, a database of SQLite's: how it is named, made whole or not at all, and waited for."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import logging
import os
import shlex
import sqlite3
import sys
import uuid
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from ..common.errors import ProjectError
from ..common.locking import exclusive
from ..common.waiting import holders, is_locked, patiently

T = TypeVar("T")
SCHEME = "sqlite:///"
#: How long a store is waited for that others have locked, in seconds. A training of hours shall not be lost.
PATIENCE = 900.0
#: The same once a run is to be ended, or a wait was in vain: who comes later closes it.
HURRY = 3.0
_limit = [PATIENCE]
#: The databases whose calls wait.
_waiting: set[str] = set()


def uri(path: Path) -> str:
    """Name a database to MLflow, whatever characters stand in its path."""
    plain = path.as_posix()
    if not {"%", "?"} & set(plain):
        return SCHEME + plain
    # SQLAlchemy unquotes the path. MLflow makes the folder of the path as it is written: quoted slashes name none.
    return SCHEME + quote(plain, safe="")


def path_of(uri: str) -> Path | None:
    """Give the path that a URI of MLflow's names; None for another store than a database file."""
    return Path(unquote(uri.removeprefix(SCHEME).partition("?")[0])) if uri.startswith(SCHEME) else None


def require(path: Path) -> None:
    """Look into a database before MLflow does, which of most troubles gives pages of traceback.

    Raises
    ------
    ProjectError
        If it cannot be opened, is locked for long, was never finished, or is of another MLflow's schema.
    """
    _limit[0] = PATIENCE
    if not path.parent.is_dir():
        raise ProjectError(
            f"the folder of the store, {path.parent}, does not exist.", f"mkdir -p {shlex.quote(str(path.parent))}"
        )
    if not path.exists():
        return
    with contextlib.closing(connect(path)) as store:

        def rows(query: str) -> list[Any]:
            return [row[0] for row in store.execute(query)]

        tables = rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        schema = rows("SELECT version_num FROM alembic_version") if "alembic_version" in tables else []
        if not tables or (schema and not _is_outdated(schema[0])):
            return  # MLflow makes its tables, or knows them
        # MLflow's last step of making a store is the experiment Default.
        if "experiments" in tables and rows("SELECT 1 FROM experiments LIMIT 1"):
            if schema:
                raise another_mlflow(uri(path))
            return
    # A journal that stayed would be played back into the next store of this name.
    files = [f"{path}{end}" for end in ("", "-journal", "-wal", "-shm") if Path(f"{path}{end}").exists()]
    raise ProjectError(
        f"the store {path} was begun and never finished, by a full disk or an interrupt; it has no run in it.",
        f"rm {shlex.join(files)}      then the next run makes it anew",
    )


def connect(path: Path) -> sqlite3.Connection:
    """Open a database so that every call waits for those who have locked it, and says in one line what is wrong."""
    return _ask(path, lambda: sqlite3.connect(path, timeout=0, factory=_Connection))


def create(path: Path, artifacts: Path) -> None:
    """Make a database with MLflow's tables: beside its place, and put there when it is whole.

    Parameters
    ----------
    path : Path
        Where; nothing happens if it is there by now.
    artifacts : Path
        The folder for artifacts of the experiment Default.

    Raises
    ------
    ProjectError
        If it cannot be made; nothing of it is left then.
    """
    # Of a name of its own: MLflow keeps what it has opened under a name, also where that was given up.
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.{os.getpid()}.part")
    # Of two first runs at once both would make it.
    with exclusive(path):
        if path.exists():
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        _remove(path)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # which tells each step of making tables
        try:
            SqlAlchemyStore(uri(draft), artifacts.as_uri()).engine.dispose()
            _put(draft, path)
        except Exception as error:  # of SQLite, SQLAlchemy, Alembic or MLflow: all of them about this one file
            reason = str(error).partition("\n")[0]
            raise ProjectError(
                f"the store {path} cannot be made: {reason}; nothing of it was kept.",
                f"Free disk space, or mend the permissions: df -h {_folder(path)}; ls -ld {_folder(path)}",
            ) from error
        finally:
            _remove(path)


def wait_for_others(path: Path) -> None:
    """Have MLflow open a database as `connect` does."""
    if not _waiting:
        from alembic.config import Config
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "do_connect", _open)
        Config.set_main_option = partialmethod(_set_option, Config.set_main_option)  # type: ignore[assignment]
    _waiting.add(os.path.abspath(path))  # noqa: PTH100 - as SQLAlchemy does, which follows no links


def hurry() -> None:
    """Wait no longer than seconds from now on: what comes is to end a run, and must itself come to an end."""
    _limit[0] = HURRY


def another_mlflow(uri: str) -> ProjectError:
    """Say of a store that MLflow would change its schema, and so lock others out; and what to do."""
    import mlflow

    command = f"{shlex.quote(sys.executable)} -m mlflow db upgrade {shlex.quote(uri)}"
    return ProjectError(
        f"the store {uri} was written by another MLflow than this environment's {mlflow.__version__}.",
        "Open it with the MLflow that wrote it (is `mlflow` on your PATH another one than .venv's?), or, if this\n"
        f"one is newer: copy the database aside, then {command}",
    )


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
        return _ask(self.connection.file, lambda: super(_Cursor, self).execute(sql, *parameters))  # type: ignore[attr-defined]

    def executemany(self, sql: str, *parameters: Any) -> _Cursor:
        return _ask(self.connection.file, lambda: super(_Cursor, self).executemany(sql, *parameters))  # type: ignore[attr-defined]


class _Connection(sqlite3.Connection):
    def __init__(self, file: str, *arguments: Any, **options: Any) -> None:
        super().__init__(file, *arguments, **options)
        self.file = Path(file)

    def cursor(self, *arguments: Any) -> Any:
        return super().cursor(*(arguments or (_Cursor,)))

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return _Cursor(self).execute(sql, *parameters)

    def commit(self) -> None:
        _ask(self.file, super().commit)


def _ask(path: Path, question: Callable[[], T]) -> T:
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


def _trouble(error: sqlite3.DatabaseError, path: Path) -> str | None:
    """Say what to do about an error that is the machine's or the file's, not the question's."""
    code, folder = getattr(error, "sqlite_errorcode", 0) & 0xFF, _folder(path)
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return f"Free disk space, then try again: df -h {folder}"
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return f"Who may write the file and its folder? ls -ld {folder} {shlex.quote(str(path))}"
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return (
            "Put a backup in its place; or leave it and begin another store, by MLFLOW_TRACKING_URI in .env:\n"
            f"MLFLOW_TRACKING_URI={SCHEME}another.db just train"
        )
    return None


def _is_outdated(schema: str) -> bool:
    """Tell whether MLflow knows a later schema: it might move to that while it opens the store, and lock others out."""
    mlflow = importlib.util.find_spec("mlflow")
    folders = mlflow.submodule_search_locations if mlflow else None
    scripts = Path((folders or [""])[0], "store", "db_migrations", "versions").glob("*.py")
    return any(f'\ndown_revision = "{schema}"' in script.read_text("utf-8") for script in scripts)


def _put(draft: Path, path: Path) -> None:
    """Put a database in its place, unless an MLflow that knows nothing of our lock has made one there."""
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        draft.rename(path)


def _remove(path: Path) -> None:
    """Remove drafts of a database, with the files that SQLite puts beside them."""
    for draft in path.parent.glob(f"{glob.escape(path.name)}.*.part*"):
        draft.unlink(missing_ok=True)


def _folder(path: Path) -> str:
    return shlex.quote(str(path.parent))
