"""The journal of an update: what it began with, so that one that was cut off is known and taken back whole.

Its place and its content are those of the updaters that projects of 0.4 and 0.5 had: theirs is taken back too.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from . import merge
from .errors import ProjectError
from .files import exclusive, is_free, write_whole
from .git import run_git
from .interrupts import undisturbed
from .merge import File

FIX = "just template-update      takes it back, then begins it anew"
Files = Mapping[str, "File | None"]


@contextlib.contextmanager
def kept(project: Path, before: Files, after: Files) -> Iterator[None]:
    """Keep a journal while files are written; at an error or interrupt they are taken back, at a kill by `take_back`.

    Parameters
    ----------
    project : Path
        The project's folder.
    before : Mapping
        Every file that may change, by its path, as it is now; None where there is none.
    after : Mapping
        The same as they are to be, as far as that is known.
    """
    journal = _path(project)
    with exclusive(journal):
        write_whole(journal, json.dumps({"before": _to_json(before), "after": _to_json(after)}))
        try:
            yield
        except BaseException:
            with undisturbed():
                _take_back(project)
            raise
        journal.unlink()


def is_unfinished(project: Path) -> bool:
    """Tell whether an update was cut off."""
    try:
        journal = _path(project)
    except ProjectError:  # no git, so no update
        return False
    return journal.exists() and is_free(journal)


def take_back(project: Path) -> list[str]:
    """Take an update back that was cut off.

    Returns
    -------
    list of str
        A line for every file that changed since then, which is left alone, or kept by git.
    """
    with exclusive(_path(project)):
        return _take_back(project) if _path(project).exists() else []


def _take_back(project: Path) -> list[str]:
    journal = _path(project)
    states = json.loads(journal.read_text("utf-8"))
    before, after = _from_json(states["before"]), _from_json(states["after"])
    merge.remove_scratch(project)
    for part in (part for path in before for part in (project / path).parent.glob(f"{Path(path).name}.*.part")):
        part.unlink(missing_ok=True)  # of the compiling of locks
    restored, told = {}, []
    for path, file in before.items():
        now = merge.read(project, path)
        if now == file:
            continue
        if path in after and now != after[path]:  # what somebody edited since then is theirs
            told.append(f"{path} was changed since then, and is left as it is")
            continue
        restored[path] = file
        if path not in after and now:  # a lock: the update's, or of a `just lock` since then
            name = run_git("hash-object", "-w", "--stdin", folder=project, text=now.content).decode().strip()
            told.append(f"{path} as it was found: git cat-file blob {name[:12]}")
    merge.write(project, restored)
    # Only what the update may have added: the rest of the index is as its user has it.
    options = ("--quiet", "--pathspec-from-file=-", "--pathspec-file-nul")
    run_git(
        "reset", *options, folder=project, text="\0".join(before).encode(), variables={"GIT_LITERAL_PATHSPECS": "1"}
    )
    journal.unlink()
    return told


def _path(project: Path) -> Path:
    """Name the journal: in git's own folder, where no status shows it; a repository may hold several projects."""
    prefix = run_git("rev-parse", "--show-prefix", folder=project).decode().strip()
    name = f"template-update-{quote(prefix, safe='')}"
    found = run_git("rev-parse", "--path-format=absolute", "--git-path", name, folder=project)
    return Path(os.fsdecode(found.removesuffix(b"\n")))


def _to_json(files: Files) -> dict[str, object]:
    return {
        path: file and {"content": base64.b64encode(file.content).decode(), "executable": file.executable}
        for path, file in files.items()
    }


def _from_json(files: dict[str, dict[str, str]]) -> dict[str, File | None]:
    return {
        path: File(base64.b64decode(file["content"]), bool(file["executable"])) if file else None
        for path, file in files.items()
    }
