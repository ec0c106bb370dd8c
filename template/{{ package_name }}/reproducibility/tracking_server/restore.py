"""A backup brought back: its digests are checked before anything is touched, and what is restored after it."""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..common.errors import ProjectError
from ..common.exit_codes import NOT_ITS_RUNS
from . import compose, dump, lifecycle
from .backup import ARTIFACTS, DATABASE, MANIFEST, VERSION, Hashing, Progress

#: What is restored, until it is known to be the same.
DRAFT = "mlflow_restored"


def read_manifest(path: Path, progress: Progress = lambda _: None) -> dict[str, Any]:
    """Read a backup to its end, and compare every part with the manifest.

    Raises
    ------
    ProjectError
        If it is no backup, or not as it was written.
    """
    found: dict[str, dict[str, Any]] = {}
    try:
        with _opened(path) as tar:
            for entry, content in _entries(tar):
                hashed = Hashing(content, progress)
                text = b"".join(iter(hashed.read, b"")) if entry.name == MANIFEST else b""
                while hashed.read():
                    pass
                found[entry.name] = {"size": entry.size, "digest": hashed.digest()}
        manifest: dict[str, Any] = json.loads(text)
        if manifest["version"] != VERSION:
            raise ProjectError(
                f"{path} is a backup of version {manifest['version']}, and this project knows {VERSION}.",
                "just template-update",
            )
        parts = {DATABASE: {name: manifest["database"][name] for name in ("size", "digest")}}
        parts |= {ARTIFACTS + name: entry for name, entry in manifest["artifacts"].items()}
    except (OSError, tarfile.TarError, ValueError, KeyError, UnboundLocalError) as error:
        raise ProjectError(
            f"{path} is no whole backup: {error}.", "Take another: ls -l tracking-server/backups"
        ) from error
    del found[MANIFEST]
    wrong = sorted(name for name in found.keys() | parts.keys() if found.get(name) != parts.get(name))
    if wrong:
        raise ProjectError(
            f"{path} is not as it was written: {len(wrong)} of its {len(parts)} parts differ, {wrong[0]} among them.",
            "Take another: ls -l tracking-server/backups",
            NOT_ITS_RUNS,
        )
    return manifest


def restore(path: Path, manifest: dict[str, Any], over: bool, progress: Progress = lambda _: None) -> None:
    """Bring a backup back into an empty server, or over one with runs, and compare the digests of all that is there.

    Until that is well, the database that was there is kept, and no artifact of its runs is deleted.

    Raises
    ------
    ProjectError
        If there are runs and `over` is not said; if it cannot be restored, or is not the same.
    """
    lifecycle.build()
    lifecycle.start_database()
    if not over:
        _require_empty()
    compose.run("stop", "server", quiet=True)
    with _opened(path) as tar:
        for entry, content in _entries(tar):
            if entry.name == DATABASE:
                dump.load(Hashing(content, progress), DRAFT)  # type: ignore[arg-type]
    with tempfile.TemporaryFile() as nowhere:
        tables = dump.write(nowhere, DRAFT).content()
    _require_same("table", tables, manifest["database"]["tables"])
    _write_artifacts(path, progress)
    there = compose.ask("server", "python", "/srv/artifacts.py", "digests")
    digests = {name: {"size": size, "digest": digest} for name, size, digest in map(json.loads, there.splitlines())}
    wanted = manifest["artifacts"]
    _require_same("artifact", {name: entry for name, entry in digests.items() if name in wanted}, wanted)
    compose.psql(
        f"DROP DATABASE IF EXISTS mlflow_replaced; ALTER DATABASE mlflow RENAME TO mlflow_replaced;\n"
        f"ALTER DATABASE {DRAFT} RENAME TO mlflow; DROP DATABASE mlflow_replaced",
        "postgres",
    )
    compose.ask("server", "python", "/srv/artifacts.py", "keep", given=json.dumps(list(wanted)))


def _require_empty() -> None:
    tables = {"runs": "run", "registered_models": "model", "users": "person"}
    made = [table for table in tables if compose.psql(f"SELECT to_regclass('public.{table}')")]
    rows = {table: int(compose.psql(f"SELECT count(*) FROM {table}")) for table in made}  # noqa: S608 - names of ours
    rows["users"] = max(0, rows.get("users", 0) - 1)  # without the administrator
    held = ", ".join(f"{count} {table}" for table, count in rows.items() if count)
    if held:
        raise ProjectError(
            f"this server is not empty: it has {held}.",
            "just server-restore BACKUP --over      replaces all of it; take a backup first: just server-backup",
        )


def _require_same(what: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if wrong:
        raise ProjectError(
            f"what was restored is not what the backup holds: {what} {wrong[0]} and {len(wrong) - 1} others differ. "
            "The server has still the runs that it had.",
            "just server-up      goes on with those",
            NOT_ITS_RUNS,
        )


def _write_artifacts(path: Path, progress: Progress) -> None:
    """Hand the artifacts to the server's container, which writes them where they belong."""
    with tempfile.TemporaryFile() as said:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": said}
        process = compose.start("server", "python", "/srv/artifacts.py", "restore", **pipes)
        assert process.stdin is not None  # noqa: S101 - a pipe
        try:
            with _opened(path) as tar, tarfile.open(fileobj=process.stdin, mode="w|") as stream:
                for entry, content in _entries(tar):
                    if entry.name.startswith(ARTIFACTS):
                        entry.name = entry.name.removeprefix(ARTIFACTS)
                        entry.pax_headers = {}
                        stream.addfile(entry, Hashing(content, progress))
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says why
        said.seek(0)
        compose.require(process, "server", said.read())


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    with tarfile.open(path, "r:") as tar:
        yield tar


def _entries(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for entry in tar:
        content = tar.extractfile(entry)
        if content is None:
            raise tarfile.TarError(f"{entry.name} is no file")
        yield entry, content
