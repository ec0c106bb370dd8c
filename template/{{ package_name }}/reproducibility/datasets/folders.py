"""What a folder holds: the path, size and SHA-256 of every file, as a text whose digest is the folder's own."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..common import digest
from ..common.errors import ProjectError
from . import remembered

#: The text lies beside the folder: data/pictures.files, where git keeps it also of a folder that is too large for it.
ENDING = ".files"
#: Nobody's data: another repository's own, and what file managers leave wherever somebody looks. It is not copied or
#: unpacked; where it comes later a training would see it, so that it counts.
NO_DATA = frozenset({".git", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})
#: Of each kind of difference, so many are named.
NAMED = 5
#: So many files are handed to a thread at once.
BATCH = 64


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


def scan(place: Path, progress: Callable[[int], object] | None = None, remember: bool = False) -> dict[str, File]:
    """List what a folder holds, on as many threads as there are cores; links are followed.

    Parameters
    ----------
    place : Path
        The folder; or a file, which is listed by the path "".
    progress : callable, optional
        Called as by `digest.of_file`, from any of the threads.
    remember : bool, default False
        Whether a file that is unchanged since an earlier call is not read again.

    Returns
    -------
    dict of str to File
        By path relative to the folder, in the order of their bytes.

    Raises
    ------
    ProjectError
        If something in it is no file, leads nowhere or in a circle, or has a name that is no text.
    """
    began = time.time_ns()
    found = dict(sorted(walk(place), key=lambda pair: pair[0].encode()))
    files = {path: status for path, status in found.items() if status}
    remember = remember and remembered.worth(files)
    digests = remembered.recall(place, files) if remember else {}
    if missing := [path for path in files if path not in digests]:
        digests |= zip(missing, _hash(place, missing, progress), strict=True)
        if remember:
            remembered.keep(place, files, digests, began)
    return {path: File(digests[path], status.st_size) if status else File("", 0) for path, status in found.items()}


def _hash(place: Path, paths: list[str], progress: Callable[[int], object] | None) -> list[str]:
    """Hash files on as many threads as there are cores, several at a time: handing over one costs as much as a file."""

    def hash_batch(start: int) -> list[str]:
        return [digest.of_file(place / path, progress) for path in paths[start : start + BATCH]]

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        return [*itertools.chain.from_iterable(pool.map(hash_batch, range(0, len(paths), BATCH)))]
    finally:
        pool.shutdown(cancel_futures=True)  # of an interrupted scan nothing is waited for


def walk(place: Path, without: frozenset[str] = frozenset()) -> Iterator[tuple[str, os.stat_result | None]]:
    """Give the path of every file of a folder, relative to it, and what the system says of the file.

    Parameters
    ----------
    place : Path
        The folder, where one with nothing in it comes with None; or a file, which has the path "".
    without : frozenset of str
        Names of files and folders that are passed over.

    Raises
    ------
    ProjectError
        As `scan` does.
    """
    if place.is_dir():
        yield from _walk(place, "", without, ())
    else:
        yield "", place.stat()


def _walk(
    folder: Path, prefix: str, without: frozenset[str], above: tuple[Path, ...]
) -> Iterator[tuple[str, os.stat_result | None]]:
    real = folder.resolve()
    if real in above:
        fix = f"rm {shlex.quote(str(folder))}      or let it lead elsewhere"
        raise ProjectError(f"{folder} leads in a circle, to {real}.", fix)
    empty = True
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in without:
                continue
            empty = False
            try:
                entry.name.encode()
                status = entry.stat()
            except UnicodeEncodeError:
                fix = "Rename it: other systems could not even write it."
                raise ProjectError(f"the name {os.fsencode(entry.path)!r} is no UTF-8.", fix) from None
            except OSError as error:
                fix = f"ls -l {shlex.quote(entry.path)}"
                raise ProjectError(f"{entry.path} cannot be read: {error.strerror}.", fix) from error
            if stat.S_ISDIR(status.st_mode):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", without, (*above, real))
            elif stat.S_ISREG(status.st_mode):
                yield f"{prefix}{entry.name}", status
            else:
                fix = "Take it out: it has no content to compare."
                raise ProjectError(f"{entry.path} is neither file nor folder.", fix)
    if empty:
        yield prefix or "./", None


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
