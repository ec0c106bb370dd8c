"""What a folder holds: the path, size and SHA-256 of every file, as a text whose digest is the folder's own."""

from __future__ import annotations

import json
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..common import digest
from ..common.errors import ProjectError

#: The text lies beside the folder: data/pictures.files, where git keeps it also of a folder that is too large for it.
ENDING = ".files"
#: Nobody's data: another repository's own, and what file managers leave wherever somebody looks. It is not copied or
#: unpacked; where it comes later a training would see it, so that it counts.
NO_DATA = frozenset({".git", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})
#: Of each kind of difference, so many are named.
NAMED = 5


@dataclass(frozen=True)
class File:
    """One file of a folder.

    Parameters
    ----------
    digest : str
        "sha256:" and 64 hexadecimal digits; empty for a folder with nothing in it, whose path ends in a slash.
    size : int
        In bytes.
    """

    digest: str
    size: int


Listing = Mapping[str, File]


def listing_of(folder: Path) -> Path:
    """Say where the listing of a folder lies: beside it."""
    return folder.with_name(f"{folder.name}{ENDING}")


def scan(folder: Path, progress: Callable[[int], object] | None = None) -> dict[str, File]:
    """List what a folder holds, on as many threads as there are cores; links are followed.

    Parameters
    ----------
    folder : Path
        The folder.
    progress : callable, optional
        Called as by `digest.of_file`, from any of the threads.

    Returns
    -------
    dict of str to File
        By path relative to the folder, in the order of their bytes.

    Raises
    ------
    ProjectError
        If something in it is no file, leads nowhere or in a circle, or has a name that is no text.
    """
    found = dict(sorted(walk(folder), key=lambda pair: pair[0].encode()))

    def look(path: Path | None) -> File:
        return File(digest.of_file(path, progress), path.stat().st_size) if path else File("", 0)

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        return dict(zip(found, pool.map(look, found.values()), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)  # of an interrupted scan nothing is waited for


def walk(folder: Path, without: frozenset[str] = frozenset()) -> Iterator[tuple[str, Path | None]]:
    """Give every file of a folder with its path relative to it; for a folder with nothing in it None.

    Parameters
    ----------
    folder : Path
        The folder.
    without : frozenset of str
        Names of files and folders that are passed over.

    Raises
    ------
    ProjectError
        As `scan` does.
    """
    yield from _walk(folder, folder, without, ())


def _walk(
    folder: Path, top: Path, without: frozenset[str], above: tuple[Path, ...]
) -> Iterator[tuple[str, Path | None]]:
    real = folder.resolve()
    if real in above:
        fix = f"rm {shlex.quote(str(folder))}      or let it lead elsewhere"
        raise ProjectError(f"{folder} leads in a circle, to {real}.", fix)
    empty = True
    for path in folder.iterdir():
        if path.name in without:
            continue
        empty = False
        try:
            path.name.encode()
            mode = path.stat().st_mode
        except UnicodeEncodeError:
            fix = "Rename it: other systems could not even write it."
            raise ProjectError(f"the name {os.fsencode(path)!r} is no UTF-8.", fix) from None
        except OSError as error:
            fix = f"ls -l {shlex.quote(str(path))}"
            raise ProjectError(f"{path} cannot be read: {error.strerror}.", fix) from error
        if stat.S_ISDIR(mode):
            yield from _walk(path, top, without, (*above, real))
        elif stat.S_ISREG(mode):
            yield path.relative_to(top).as_posix(), path
        else:
            raise ProjectError(f"{path} is neither file nor folder.", "Take it out: it has no content to compare.")
    if empty:
        yield f"{folder.relative_to(top).as_posix()}/", None


def text(listing: Listing) -> bytes:
    """Write a listing: a line a file, of SHA-256, size and path, the latter as JSON."""
    lines = (
        f"{file.digest.removeprefix('sha256:') or '-'} {file.size} {json.dumps(path, ensure_ascii=False)}\n"
        for path, file in listing.items()
    )
    return "".join(lines).encode()


def parse(content: bytes) -> dict[str, File]:
    """Read what `text` wrote.

    Raises
    ------
    ValueError
        If it is nothing of the kind, or a path leads out of the folder.
    """
    listing = {}
    for line in content.decode().split("\n")[:-1]:
        number, size, quoted = line.split(" ", 2)
        path = json.loads(quoted)
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} leads out of the folder")
        listing[path] = File("" if number == "-" else f"sha256:{number}", int(size))
    return listing


def differences(expected: Listing, found: Listing) -> str:
    """Name what was added, changed and is gone, a line each kind; empty where nothing was."""
    kinds = {
        "added": [path for path in found if path not in expected],
        "changed": [path for path in found if path in expected and found[path] != expected[path]],
        "gone": [path for path in expected if path not in found],
    }
    return "\n".join(
        f"  {kind:8} {', '.join(paths[:NAMED])}{f' and {len(paths) - NAMED:,} more' * (len(paths) > NAMED)}"
        for kind, paths in kinds.items()
        if paths
    )
