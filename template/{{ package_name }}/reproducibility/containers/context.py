"""What an image is built from: the tree of a run, as the same bytes, modes and times for everybody."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..common import digest
from ..common.project import ROOT
from ..common.scratch import temporary_folder
from ..source.checkout import restore
from ..source.snapshot import Source

#: The time of every file, in seconds: 1980-01-01, the earliest that archives of all kinds can hold.
EPOCH = 315532800
#: Never in an image, even where a commit has them: data, and credentials.
KEPT_OUT = ("data", ".env")


@contextlib.contextmanager
def context(code: Source, here: Path = ROOT) -> Iterator[Path]:
    """Give a folder with the project as a run has it, for a builder to read.

    Parameters
    ----------
    code : Source
        What was captured. Files that git ignores, or that were left out of it, are not in it.
    here : Path
        The project that has commits and files.
    """
    patches = {digest.of_bytes(patch): patch for patch in code.patches().values()}
    with temporary_folder("image") as scratch:
        folder = restore(code.content(), patches, scratch / "tree", here)
        for name in KEPT_OUT:
            _remove(folder / name)
        for place in [*folder.rglob(".git")]:
            _remove(place)
        normalize(folder)
        yield folder


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def normalize(folder: Path) -> None:
    """Give every file one time, and the modes that git knows: whatever umask, it can be executed by all or by none."""
    for path, folders, files in os.walk(folder, topdown=False):
        for name in [*folders, *files]:
            entry = Path(path, name)
            if not entry.is_symlink():
                entry.chmod(0o755 if name in folders or entry.stat().st_mode & 0o100 else 0o644)
            os.utime(entry, (EPOCH, EPOCH), follow_symlinks=False)
    folder.chmod(0o755)
    os.utime(folder, (EPOCH, EPOCH))
