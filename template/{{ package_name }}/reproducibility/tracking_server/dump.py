"""The database as text, and a digest of each table that does not depend on the order of its rows."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable
from typing import IO, Any

from . import compose

CHUNK = 1 << 20


class Tables:
    """Rows and digest of every table of a dump, of which it sees line after line.

    The digest adds up the rows' own ones, modulo 2**256: dumps of one content are equal wherever the rows lie.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[int]] = {}
        self._table = ""

    def see(self, line: bytes) -> None:
        """See the next line."""
        if self._table and line == b"\\.\n":
            self._table = ""
        elif self._table:
            rows = self._sums[self._table]
            rows[0] += 1
            rows[1] = (rows[1] + int.from_bytes(hashlib.sha256(line).digest())) % (1 << 256)
        elif found := re.match(rb"COPY ([\w.\"]+) \(.*\) FROM stdin;\n", line):
            self._table = found[1].decode()
            self._sums[self._table] = [0, 0]

    def content(self) -> dict[str, dict[str, Any]]:
        """Give rows and digest of each table."""
        return {name: {"rows": rows, "digest": f"{total:064x}"} for name, (rows, total) in sorted(self._sums.items())}


def write(file: IO[bytes], database: str = "mlflow", progress: Callable[[int], object] | None = None) -> Tables:
    """Dump a database as it is at one instant, while others write; give what is in its tables.

    Raises
    ------
    ProjectError
        If it cannot be dumped.
    """
    command = compose.with_password("pg_dump", "--no-owner", "--no-privileges", "--username=mlflow", database)
    tables = Tables()
    with tempfile.TemporaryFile() as said:
        process = compose.start("database", *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        assert process.stdout is not None  # noqa: S101 - a pipe
        for line in process.stdout:
            file.write(line)
            tables.see(line)
            if progress:
                progress(len(line))
        said.seek(0)
        compose.require(process, "database", said.read())
    return tables


def load(file: IO[bytes], database: str) -> None:
    """Make a new database of a dump, wholly or not at all.

    Raises
    ------
    ProjectError
        If it does not take all of it.
    """
    compose.psql(f'DROP DATABASE IF EXISTS "{database}"', "postgres")
    compose.psql(f'CREATE DATABASE "{database}"', "postgres")
    psql = (
        "psql",
        "--quiet",
        "--output=/dev/null",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        "--username=mlflow",
    )
    with tempfile.TemporaryFile() as said:
        command = compose.with_password(*psql, f"--dbname={database}")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": said}
        process = compose.start("database", *command, **pipes)
        pour(file, process)
        said.seek(0)
        compose.require(process, "database", said.read())


def pour(file: IO[bytes], process: subprocess.Popen[bytes]) -> None:
    """Give a file to a process, which may end before it has read all; its exit code tells why."""
    assert process.stdin is not None  # noqa: S101 - a pipe
    try:
        while piece := file.read(CHUNK):
            process.stdin.write(piece)
        process.stdin.close()
    except BrokenPipeError:
        pass
