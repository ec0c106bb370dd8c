"""Which runs are still going on: each holds a lock, which the system takes back from a process that dies."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common.locking import exclusive
from ..common.project import ROOT
from ..common.waiting import is_free
from ..environment import mlflow_environment
from . import bare_runs, search, sqlite_connection

#: Tag of a run: the lock that it holds, on which machine, and for which project.
TAG = "repro.alive"
#: Set in a container: that tag, since it is held outside, where others see it.
HELD = "REPRO_ALIVE"


@contextlib.contextmanager
def held() -> Iterator[dict[str, str]]:
    """Hold a lock while a run goes on, and give the tag that tells of it."""
    if HELD in os.environ:
        yield {TAG: os.environ[HELD]}
        return
    path = mlflow_environment.folder() / "running" / uuid.uuid4().hex
    lock = Path(f"{path}.lock")
    try:
        with exclusive(path):
            yield {TAG: json.dumps({"lock": str(lock), "file": lock.stat().st_ino, "project": str(ROOT), **_machine()})}
    finally:
        lock.unlink(missing_ok=True)


@contextlib.contextmanager
def ending(run_id: str, status: str, tag: Mapping[str, str]) -> Iterator[None]:
    """Mark a run that was cut short as FAILED or KILLED, and say so.

    Where the store does not let us, that is noted for `close_dead`, beside the lock that the tag of `held` names.
    """
    sqlite_connection.hurry()
    try:
        yield
    except Exception as error:  # whatever the store says: why the run ended matters more
        with contextlib.suppress(OSError):
            _note(Path(json.loads(tag[TAG])["lock"])).write_text(status, "utf-8")
        reason = str(error).partition("\n")[0]
        print(f"run {run_id} could not be marked {status}: {reason} `just doctor` does that later.", file=sys.stderr)
    else:
        print(f"run {run_id} is marked {status}", file=sys.stderr)


def close_dead() -> list[str]:
    """End the runs of this project whose process ended on this machine and could not say so, and name them.

    They are looked for in every experiment of the store: a bare `mlflow run` chooses its own.
    """
    import mlflow

    client = mlflow.MlflowClient()
    closed = []
    for run in _running(client):
        if TAG in run.data.tags:
            status, lock = _status(run.data.tags[TAG])
        else:
            status, lock = ("KILLED" if bare_runs.is_dead(run) else ""), None
        if status:
            client.set_terminated(run.info.run_id, status)
            closed.append(f"{run.info.run_id} {status}")
            for file in (lock, _note(lock)) if lock else ():
                file.unlink(missing_ok=True)
    return closed


def _running(client: Any) -> list[Any]:
    """Find every run of the store that has no end yet."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [*search.newest_first(experiments, "attributes.status = 'RUNNING'")] if experiments else []


def _status(text: str) -> tuple[str, Path | None]:
    """Tell from a tag how a run ended, "" if it goes on or nobody can tell from here, and give its lock."""
    try:
        tag = json.loads(text)
    except ValueError:  # as 0.4.0 wrote it: the name of a machine, which is no identity, and the lock
        name, _, path = text.partition(" ")
        return ("KILLED" if name == socket.gethostname() and is_free(Path(path)) else ""), Path(path)
    lock = Path(tag["lock"])
    if tag["project"] != str(ROOT) or not _is_here(tag):
        return "", None
    with contextlib.suppress(OSError):
        return _note(lock).read_text("utf-8"), lock
    # A lock of that name with another number is a copy, as in a container made from another's image.
    is_same = is_free(lock) and lock.stat().st_ino == tag["file"]
    return ("KILLED" if is_same else ""), lock


def _is_here(tag: Mapping[str, Any]) -> bool:
    """Tell whether a lock was taken where its state can be seen from here: under this kernel, or before it started."""
    here = _machine()
    if tag["boot"] == here["boot"]:
        return True
    # Containers often have no identity, or that of their image, and share it with others.
    return bool(here["machine"]) and all(tag[name] == here[name] for name in ("machine", "name"))


def _machine() -> dict[str, str]:
    """Name this machine: its kernel since it started, what it is for good, and as people call it."""
    boot, machine = (_read(file) for file in ("/proc/sys/kernel/random/boot_id", "/etc/machine-id"))
    if os.name != "posix" or sys.platform == "darwin":
        machine = f"{uuid.getnode():x}"
    return {"boot": boot or machine, "machine": machine, "name": socket.gethostname()}


def _read(file: str) -> str:
    with contextlib.suppress(OSError):
        return Path(file).read_text("utf-8").strip()
    return ""


def _note(lock: Path) -> Path:
    """Name the file that says how a run ended which could not be marked so."""
    return lock.with_suffix(".ended")
