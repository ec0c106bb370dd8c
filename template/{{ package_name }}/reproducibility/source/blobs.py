"""Files as git knows them: by the hash of their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..common import digest

#: Modes of a file, of one that can be executed, and of a repository inside this one, as git writes them.
FILE, EXECUTABLE, SUBMODULE = "100644", "100755", "160000"
#: Lists every file of a tree below the folder where git runs.
LISTED = ("ls-tree", "-r", "-z")


def read_tree(listed: bytes) -> Iterator[tuple[str, tuple[str, str]]]:
    """Give mode and hash of every file that `git ls-tree` lists, by its path relative to the project."""
    for line in listed.split(b"\0"):
        if line:
            about, _, name = line.partition(b"\t")
            mode, _, blob = about.decode().split(" ")
            yield os.fsdecode(name), (mode, blob)


def blob_of(content: bytes, commit: str) -> str:
    """Give the hash by which git knows these bytes, in a repository of such commits."""
    return _hash(commit, len(content), [content])


def blob_of_file(file: Path, commit: str) -> str:
    """Give the hash by which git knows a file."""
    with file.open("rb") as stream:
        return _hash(commit, file.stat().st_size, iter(lambda: stream.read(digest.CHUNK), b""))


def _hash(commit: str, size: int, pieces: Iterable[bytes]) -> str:
    found = hashlib.sha256() if len(commit) == 64 else hashlib.sha1(usedforsecurity=False)
    found.update(b"blob %d\0" % size)
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()
