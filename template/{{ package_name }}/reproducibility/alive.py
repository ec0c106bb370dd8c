"""Which runs are still going on: each holds a lock, which the system takes back from a process that dies."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

from . import env_cache
from .project import exclusive

#: Tag of a run: the machine it is on, and the lock that it holds there.
TAG = "repro.alive"


@contextlib.contextmanager
def held() -> Iterator[dict[str, str]]:
    """Hold a lock while a run goes on, and give the tag that tells of it."""
    path = env_cache.folder() / "running" / uuid.uuid4().hex
    try:
        with exclusive(path):
            yield {TAG: f"{socket.gethostname()} {path}.lock"}
    finally:
        Path(f"{path}.lock").unlink(missing_ok=True)


def close_dead(experiment_id: str) -> list[str]:
    """End the runs whose process died on this machine without a word, as KILLED, and give their IDs."""
    import mlflow

    client = mlflow.MlflowClient()
    closed = []
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        machine, _, lock = run.data.tags.get(TAG, "").partition(" ")
        if machine == socket.gethostname() and is_free(Path(lock)):
            client.set_terminated(run.info.run_id, "KILLED")
            Path(lock).unlink(missing_ok=True)
            closed.append(run.info.run_id)
    return closed


def is_free(lock: Path) -> bool:
    """Tell whether nobody holds a lock."""
    if not lock.exists():
        return True
    with contextlib.closing(sqlite3.connect(lock, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
    return True
