"""The server up and down, and its database at the schema of the locked MLflow."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from ..common import terminal
from ..common.errors import ProjectError
from ..common.project import ROOT
from . import backup, compose, settings

#: Seconds that PostgreSQL and MLflow may take to answer.
DATABASE, SERVER = 60, 180


def up() -> str:
    """Build the image, start the database and then MLflow, if the schema is its own; give the address.

    Raises
    ------
    ProjectError
        If the schema is another MLflow's, something else listens there, or it does not come up.
    """
    settings.read()
    if not compose.is_running("server") and settings.is_taken():
        raise ProjectError(
            f"something else listens at {settings.own_address()}.",
            f"Set another SERVER_PORT in {settings.SETTINGS.relative_to(ROOT)} (and in SERVER_ADDRESS), "
            "and `tracking-uri` in pyproject.toml.",
        )
    build()
    start_database()
    require_schema()
    compose.run("up", "--detach", quiet=True)
    _wait_for_server()
    return settings.own_address()


def down() -> None:
    """Stop and remove the containers; the volumes, with all runs, stay."""
    settings.read()
    compose.run("down", quiet=True)


def build() -> None:
    """Build the server's image, from its lock."""
    print("building the server's image, if its lock or its files have changed", file=sys.stderr)
    compose.build()


@terminal.waiting("starting the database")
def start_database() -> None:
    """Start the database alone, and wait for it.

    Raises
    ------
    ProjectError
        If it does not answer in time.
    """
    compose.run("up", "--detach", "database", quiet=True)
    end = time.monotonic() + DATABASE
    ready = ("pg_isready", "--quiet", "--host=127.0.0.1", "--username=mlflow", "--dbname=mlflow")
    while True:
        try:
            compose.ask("database", *ready)
            return
        except ProjectError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def state() -> dict[str, Any]:
    """Ask the server's image for its MLflow and for what it makes of the database's schemas."""
    found: dict[str, Any] = json.loads(
        compose.ask("server", "python", "/srv/serve.py", "schema", fresh=True).splitlines()[-1]
    )
    return found


@terminal.waiting("comparing the schemas")
def require_schema() -> None:
    """Stop if the database is of an earlier or later MLflow than the image.

    Raises
    ------
    ProjectError
        With the command that upgrades it, or the way back.
    """
    found = state()
    said, ours = set(found["schemas"].values()), f"the MLflow {found['mlflow']} of tracking-server/constraints.txt"
    if "newer" in said:
        raise ProjectError(
            f"the database was upgraded by a later MLflow than {ours}.",
            "git log -- tracking-server/constraints.txt      and: git checkout COMMIT -- of the later locks\n"
            "or go back to what was before: just server-restore BACKUP --over      (the upgrade made one)",
        )
    if "older" in said:
        raise ProjectError(
            f"the database is of an earlier MLflow than {ours}.",
            "just server-upgrade      takes a backup first, and tells the way back\n"
            "or keep the earlier MLflow: git checkout COMMIT -- of the earlier locks",
        )


def upgrade(path: Path) -> bool:
    """Bring the database to the schema of the locked MLflow, after a backup; tell whether there was anything to do.

    Raises
    ------
    ProjectError
        If it is of a later MLflow, or the upgrade fails.
    """
    settings.read()
    build()
    start_database()
    compose.run("stop", "server", quiet=True)
    said = set(state()["schemas"].values())
    if "older" not in said:
        require_schema()
        return False
    backup.write(path)
    try:
        compose.ask("server", "python", "/srv/serve.py", "upgrade")
    except ProjectError as error:
        fix = f"with the earlier locks: just server-restore {path} --over"
        raise ProjectError(f"the upgrade failed; {error.cause}", fix) from error
    return True


@terminal.waiting("starting the server")
def _wait_for_server() -> None:
    end = time.monotonic() + SERVER
    while True:
        try:
            urllib.request.urlopen(f"{settings.own_address()}/health", timeout=5).close()  # noqa: S310 - http only
            return
        except OSError as error:
            if time.monotonic() > end:
                fix = f"cd {settings.FOLDER} && {' '.join(compose.program())} logs server"
                raise ProjectError(f"the server does not answer within {SERVER} s: {error}.", fix) from error
        time.sleep(0.5)
