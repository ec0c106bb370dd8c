"""An index of our own, to which git adds what is uncommitted and changes nothing of the repository."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..common.scratch import temporary_folder
from .git import EXACT, described, git, run_git

#: A patch is applied just as it is.
EXACT_PATCH = ("--binary", "--whitespace=nowarn", "--no-ignore-whitespace")


class Git(Protocol):
    """Runs git on a repository."""

    def __call__(self, *arguments: str, text: bytes | None = None) -> bytes:
        """Give what it prints."""


@contextlib.contextmanager
def scratch_index(folder: Path) -> Iterator[Git]:
    """Give a git that works on an index and an object folder of its own, and sees the repository's objects."""
    objects = git("rev-parse", "--path-format=absolute", "--git-path", "objects", folder=folder) or ""
    options = (*EXACT, *described(folder))
    with temporary_folder("capture") as scratch:
        (scratch / "objects").mkdir()
        quoted = objects.replace("\\", "\\\\").replace('"', '\\"')
        variables = {
            "GIT_INDEX_FILE": str(scratch / "index"),
            "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{quoted}"',  # a colon would stand between two
        }

        def run(*arguments: str, text: bytes | None = None) -> bytes:
            return run_git(*arguments, folder=folder, variables=variables, text=text, options=options)

        yield run
