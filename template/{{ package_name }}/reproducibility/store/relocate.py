"""After a project's folder was copied or moved: its own store is pointed at its new place."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from ..common.errors import ProjectError
from ..common.project import ROOT
from . import sqlite_connection, tracking
from .tracking import local_path


def relocate() -> tuple[Path, int] | None:
    """Point a copied or moved project's own store at the folder that it lies in now.

    Returns
    -------
    tuple of (Path, int)
        The backup of the database, and how many locations were changed; None where it lies where it belongs.

    Raises
    ------
    ProjectError
        If the project has no database of its own.
    """
    path = tracking.database()
    if path is None or not path.exists() or not tracking.is_own_store():
        raise ProjectError(
            "there is no database in this folder to relocate.", "Nothing to do; unset MLFLOW_TRACKING_URI?"
        )
    backup = path.with_name(f"{path.name}.before-relocation-{int(path.stat().st_mtime)}")
    with contextlib.closing(sqlite_connection.connect(path)) as store:
        locations = [row[0] for row in store.execute("SELECT artifact_location FROM experiments")]
        old = {place.rpartition("/mlruns")[0] for place in locations if "/mlruns" in place and local_path(place)}
        # MLflow takes a % in a plain path for a code: only as an address is such a path what it says.
        old -= {ROOT.as_uri()} | ({ROOT.as_posix()} if "%" not in ROOT.as_posix() else set())
        if not old:
            return None
        with contextlib.closing(sqlite3.connect(backup)) as copy:
            store.backup(copy)
        changed = 0
        for root in old:
            new = ROOT.as_uri() if root.startswith("file:") or "%" in ROOT.as_posix() else ROOT.as_posix()
            changed += sum(_replace(store, table, column, root, new) for table, column in _texts(store))
        store.commit()
    return backup, changed


def _texts(store: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, column[1])
        for table in tables
        for column in store.execute(f'PRAGMA table_info("{table}")')
        if column[1] in {"artifact_uri", "artifact_location", "source", "storage_location"}
    ]


def _replace(store: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    cursor = store.execute(
        f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '  # noqa: S608 - names from the schema
        f'WHERE substr("{column}", 1, ?) = ?',
        (new, len(old) + 1, len(old) + 1, f"{old}/"),
    )
    return cursor.rowcount
