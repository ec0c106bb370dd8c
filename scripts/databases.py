"""A real PostgreSQL for tests and measurements, of Debian's package, gone when the block ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keeper
from keeper import Unavailable

PROGRAMS = Path("/usr/lib/postgresql")


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Start a PostgreSQL that asks for a password, and give the URI of an empty database in it.

    It listens on a socket in a folder of its own: no port is taken, and hosts of a network of their own reach it, too.
    """
    import psycopg

    programs, password = _programs(), secrets.token_hex(16)
    # PostgreSQL refuses to run as root, and the user that it runs as may not look into pytest's folders.
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    data, log = folder / "data", folder / "log"

    def run(program: str, *arguments: str, check: bool = True) -> None:
        # Into a file, not a pipe: the database would inherit that, and whoever reads it wait for its end.
        with (folder / "programs").open("ab") as output:
            command = [str(programs / program), "--pgdata", str(data), *arguments]
            done = subprocess.run(command, cwd=folder, stdout=output, stderr=output, timeout=120, **user)
        said = "".join(file.read_text("utf-8", "replace") for file in (folder / "programs", log) if file.exists())
        assert not check or done.returncode == 0, f"{program} gave {done.returncode}:\n{said}"

    try:
        (folder / "password").write_text(password)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        initial = ("--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--encoding=UTF8", "--locale=C")
        run("initdb", "--username=mlflow", "--no-sync", *initial)
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(f"\nlisten_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = off\n")
        run("pg_ctl", "start", "--wait", "--log", str(log))
        with psycopg.connect(f"postgresql://mlflow:{password}@/postgres?host={folder}", autocommit=True) as connection:
            connection.execute("CREATE DATABASE mlflow")
        yield f"postgresql://mlflow:{password}@/mlflow?host={folder}"
    finally:
        if (data / "postmaster.pid").exists():
            run("pg_ctl", "stop", "--wait", "--mode=immediate", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Find the folder of PostgreSQL's programs, installed where they are not here."""
    if not any(PROGRAMS.glob("*/bin/initdb")):
        if not shutil.which("apt-get") or os.geteuid():
            raise Unavailable("PostgreSQL is installed by root, on Debian: apt-get install postgresql")
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "postgresql"]):
            done = keeper.run(["timeout", "300", "apt-get", *command], False, DEBIAN_FRONTEND="noninteractive")
            if done.returncode:
                raise Unavailable(f"`apt-get {command[0]}` for PostgreSQL failed: {done.stdout[-500:]}")
    versions = sorted((int(path.parents[1].name), path.parent) for path in PROGRAMS.glob("*/bin/initdb"))
    return versions[-1][1]
