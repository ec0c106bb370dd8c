"""Runs that a bare `mlflow run` began and that came to no code of this project's, so that they hold no lock."""

from __future__ import annotations

import contextlib
import getpass
import time
from pathlib import Path
from typing import Any

from ..common.project import ROOT
from ..source.git import has_commit
from . import tracking

#: Seconds. Nobody begins to build an environment and is still at it after as long.
LONG_AGO = 86400
#: Seconds in which a command of ours marks the run that it has just made.
JUST_NOW = 60


def is_dead(run: Any) -> bool:
    """Tell whether a run that is RUNNING, without a mark of ours, can have no process any more.

    False too where nobody can tell: of another project or person, or where processes may be that are not seen from
    here, until it is long ago.
    """
    tags = run.data.tags
    source, commit = tags.get("mlflow.source.name", ""), tags.get("mlflow.source.git.commit", "")
    if tags.get("mlflow.source.type") != "PROJECT" or tracking.local_path(source) != ROOT:
        return False
    # In a store of many, others may have a folder of the same name. No other project has our commits.
    if tags.get("mlflow.user") != _user() or not (tracking.is_own_store() or has_commit(commit)):
        return False
    if any(name.startswith("repro.") for name in tags):  # begun, by the harness of a release that marked no runs
        return False
    age = time.time() - run.info.start_time / 1000
    if age < JUST_NOW or any(_may_be_of(run.info.run_id, process) for process in Path("/proc").glob("[0-9]*")):
        return False
    return age > LONG_AGO or _is_seen_by_nobody_else()


def _is_seen_by_nobody_else() -> bool:
    """Tell whether the store lies where no other machine or container can write: beside this system's own files."""
    path = tracking.database()
    return path is not None and Path("/proc/self").exists() and path.stat().st_dev == Path("/").stat().st_dev


def _may_be_of(run_id: str, process: Path) -> bool:
    """Tell whether a process may be the `mlflow run` that prepares a run, or what it started for it."""
    with contextlib.suppress(OSError):
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if "run" in words and any("mlflow" in word for word in words):
            folder = (process / "cwd").resolve()
            return any((folder / word).resolve() == ROOT for word in words if word)
        return f"MLFLOW_RUN_ID={run_id}".encode() in (process / "environ").read_bytes().split(b"\0")
    return False


def _user() -> str:
    with contextlib.suppress(OSError, KeyError):
        return getpass.getuser()
    return ""
