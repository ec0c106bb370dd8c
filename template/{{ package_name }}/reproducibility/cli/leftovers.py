"""What processes of this project left behind when they were killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..common import scratch
from ..common.errors import ProjectError
from ..common.project import ROOT
from ..common.waiting import is_free
from ..containers import engine, start
from ..datasets.manifest import data_root
from ..environment import mlflow_environment
from ..source.git import git

#: Half-written files and folders, as `write_whole`, a store that is made (with what SQLite puts beside it), a download
#: or the lending of bytecode call them.
PART = re.compile(r".\.(\d+)\.part(-journal|-wal|-shm)?$|\.fetch-\w+\.part$|.+\.download\.part$|__pycache__\.part$")
#: Seconds without a change after which nobody writes any more, on whatever machine.
LONG_AGO = 3600


def remove() -> list[Path]:
    """Remove what is this project's and no living process's, and say what it was."""
    removed = []
    for path in (*_scratch(), *_parts()):
        with contextlib.suppress(OSError):
            if (path / "tree" / ".git").is_file():  # a work tree that git knows of
                git("worktree", "remove", "--force", str(path / "tree"))
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            removed.append(path)
    return removed


def end_containers() -> list[str]:
    """End the containers of this project for which nobody waits any more, and name them."""
    if not (ROOT / "Dockerfile").exists():
        return []
    try:
        found = engine.find()
    except ProjectError:  # no engine here, and so no containers
        return []
    known = f'{{{{.Names}}}}\t{{{{.Label "{start.LOCK_LABEL}"}}}}'
    listed = found.ask("ps", "--all", "--filter", f"label={start.PROJECT_LABEL}={ROOT}", "--format", known)
    ended = []
    for name, _, lock in (line.partition("\t") for line in listed.splitlines()):
        if is_free(Path(lock)) or not Path(lock).exists():
            found.ask("rm", "--force", "--volumes", name)
            ended.append(name)
    return ended


def _scratch() -> Iterator[Path]:
    """Find folders of `scratch` whose process is gone, or died before it had locked its own."""
    for folder in Path(tempfile.gettempdir()).glob(f"{scratch.PREFIX}*"):
        lock = folder / f"{scratch.LOCK}.lock"
        with contextlib.suppress(OSError):
            if is_free(lock) or (not lock.exists() and _is_old(folder)):
                yield folder


def _parts() -> Iterator[Path]:
    environment = mlflow_environment.current()
    places = [ROOT.glob("*.part*"), (ROOT / "data").rglob("*.part"), (ROOT / ".venv").glob("*.part")]
    with contextlib.suppress(ProjectError):  # of pyproject.toml, which others tell
        places += [root.glob("*.part")] if (root := data_root()) else []
    for path in (path for place in (*places, environment.rglob("*.part")) for path in place):
        found = PART.search(path.name)
        if found and _is_old(path) and not (found[1] and _lives(int(found[1]))):
            yield path


def _is_old(path: Path) -> bool:
    """Tell whether nothing in a file or folder changed lately: while a download goes on, its folder stays as it was."""
    with contextlib.suppress(OSError):
        return time.time() - max(place.stat().st_mtime for place in (path, *path.rglob("*"))) > LONG_AGO
    return False


def _lives(process: int) -> bool:
    """Tell whether a process is there; where a signal cannot ask without harm, that it may be."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
