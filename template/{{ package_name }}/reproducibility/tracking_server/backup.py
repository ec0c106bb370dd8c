"""A backup: one file that holds the database as it was at one instant, the artifacts, and the digests of all.

The database is dumped before the artifacts are read, so whatever it names is there, though people go on meanwhile.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ..common.errors import ProjectError
from . import compose, dump
from .settings import BACKUPS

MANIFEST, DATABASE, ARTIFACTS = "manifest.json", "database.sql", "artifacts/"
VERSION = 1
Progress = Callable[[int], object]


def default_path() -> Path:
    """Name a backup by the time."""
    return BACKUPS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.tar"


def size() -> int:
    """Tell about how many bytes a backup holds."""
    database = int(compose.psql("SELECT pg_database_size('mlflow')"))
    return database + int(compose.ask("server", "python", "/srv/artifacts.py", "size"))


def write(path: Path, progress: Progress = lambda _: None) -> dict[str, Any]:
    """Write a backup, wholly or not at all; give its manifest.

    Raises
    ------
    ProjectError
        If a part cannot be read, or the file is there already.
    """
    if path.exists():
        raise ProjectError(f"{path} is there already.", "Name another file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        # It holds the hashes of everybody's passwords.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                manifest = _fill(tar, path.parent, progress)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ProjectError(
            f"the backup cannot be written: {error}.", f"df -h {shlex.quote(str(path.parent))}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _fill(tar: tarfile.TarFile, folder: Path, progress: Progress) -> dict[str, Any]:
    with tempfile.TemporaryFile(dir=folder) as spool:
        tables = dump.write(spool, progress=progress)
        spool.seek(0)
        database = _add(tar, DATABASE, spool, os.fstat(spool.fileno()).st_size)
    manifest = {
        "version": VERSION,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "database": database | {"tables": tables.content()},
        "artifacts": _artifacts(tar, progress),
    }
    text = json.dumps(manifest, indent=1).encode()
    _add(tar, MANIFEST, io.BytesIO(text), len(text))
    return manifest


def _artifacts(tar: tarfile.TarFile, progress: Progress) -> dict[str, Any]:
    """Copy the artifacts; of one that is there several times, as it changed meanwhile, the last counts."""
    found = {}
    with tempfile.TemporaryFile() as said:
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": said}
        process = compose.start("server", "python", "/srv/artifacts.py", "export", **pipes)
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as stream:
                for entry in stream:
                    content = stream.extractfile(entry)
                    assert content is not None  # noqa: S101 - only files are exported
                    found[entry.name] = _add(tar, ARTIFACTS + entry.name, content, entry.size, progress)
        except tarfile.ReadError as error:
            process.kill()
            said.seek(0)
            compose.require(process, "server", said.read() or str(error).encode())
        said.seek(0)
        compose.require(process, "server", said.read())
    return found


def _add(
    tar: tarfile.TarFile, name: str, content: IO[bytes], size: int, progress: Progress = lambda _: None
) -> dict[str, Any]:
    entry = tarfile.TarInfo(name)
    entry.size = size
    hashed = Hashing(content, progress)
    tar.addfile(entry, hashed)
    return {"size": size, "digest": hashed.digest()}


class Hashing:
    """A stream whose digest is known when it was read."""

    def __init__(self, stream: IO[bytes], progress: Progress = lambda _: None) -> None:
        self._stream, self._progress, self._sha256 = stream, progress, hashlib.sha256()

    def read(self, size: int = dump.CHUNK) -> bytes:
        """Read on."""
        piece = self._stream.read(size)
        self._sha256.update(piece)
        self._progress(len(piece))
        return piece

    def digest(self) -> str:
        """Give the digest of what was read: "sha256:" and 64 hexadecimal digits."""
        return f"sha256:{self._sha256.hexdigest()}"
