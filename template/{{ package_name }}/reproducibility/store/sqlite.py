"""The store where it is a file of SQLite's: its name, its first making, and a look into it before MLflow's."""

from __future__ import annotations

import contextlib
import functools
import glob
import importlib.util
import logging
import os
import re
import shlex
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ..common.errors import ProjectError
from ..common.locking import exclusive
from . import sqlite_connection

SCHEME = "sqlite:///"


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
    sqlite_connection.be_patient()
    if not path.parent.is_dir():
        raise ProjectError(
            f"the folder of the store, {path.parent}, does not exist.", f"mkdir -p {shlex.quote(str(path.parent))}"
        )
    if not path.exists():
        return
    with contextlib.closing(sqlite_connection.connect(path)) as store:

        def rows(query: str) -> list[Any]:
            return [row[0] for row in store.execute(query)]

        tables = rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        schema = rows("SELECT version_num FROM alembic_version") if "alembic_version" in tables else []
        if not tables or (schema and schema[0] not in outdated()):
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


def create(path: Path, artifacts: Path) -> None:
    """Make a database with MLflow's tables: beside its place, and put there when it is whole.

    Nothing happens if it is there by now. In `artifacts` the experiment Default keeps its own.

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
            reason, quoted = str(error).partition("\n")[0], shlex.quote(str(path.parent))
            raise ProjectError(
                f"the store {path} cannot be made: {reason}; nothing of it was kept.",
                f"Free disk space, or mend the permissions: df -h {quoted}; ls -ld {quoted}",
            ) from error
        finally:
            _remove(path)


def another_mlflow(uri: str) -> ProjectError:
    """Say of a store that MLflow would change its schema, and so lock others out; and what to do."""
    import mlflow

    command = f"{shlex.quote(sys.executable)} -m mlflow db upgrade {shlex.quote(uri)}"
    return ProjectError(
        f"the store {uri} was written by another MLflow than this environment's {mlflow.__version__}.",
        "Open it with the MLflow that wrote it (is `mlflow` on your PATH another one than .venv's?), or, if this\n"
        f"one is newer: copy the database aside, then {command}",
    )


@functools.cache
def outdated() -> frozenset[str]:
    """Name the schemas of which MLflow knows a later one: it might move a store to that, and lock others out.

    Alembic could say it too, but executes every script for that: 20 ms or more, in every command.
    """
    mlflow = importlib.util.find_spec("mlflow")
    folders = mlflow.submodule_search_locations if mlflow else None
    scripts = Path((folders or [""])[0], "store", "db_migrations", "versions").glob("*.py")
    named = (re.search('^down_revision = "(.*?)"', script.read_text("utf-8"), re.MULTILINE) for script in scripts)
    return frozenset(found[1] for found in named if found)


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
