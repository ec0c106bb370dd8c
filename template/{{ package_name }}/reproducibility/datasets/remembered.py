"""Digests of files that are unchanged since they were hashed: for trainings alone, never for a proof."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.files import cache, write_whole
from ..common.scratch import PREFIX

#: Set where every byte is hashed: for what verifies, reproduces or replays.
ANEW = "REPRO_HASH_ANEW"
#: What changed so shortly before it was hashed (nanoseconds) may have changed once more with the same time.
YOUNG = 2_000_000_000
#: What is worth it, in bytes: hashing them takes longer than remembering. Opening a file takes as long as hashing some.
WORTH, OPENING = 1 << 24, 1 << 16
VERSION = 1


def allowed() -> bool:
    """Tell whether digests may be remembered here; Windows has no time of change that nobody can put back."""
    return ANEW not in os.environ and os.name == "posix"


def worth(found: Mapping[str, os.stat_result]) -> bool:
    """Tell whether it is faster to remember the digests of files than to hash them."""
    return sum(status.st_size + OPENING for status in found.values()) > WORTH


def recall(place: Path, found: Mapping[str, os.stat_result]) -> dict[str, str]:
    """Give the digests of those files that are as they were when they were hashed.

    Parameters
    ----------
    place : Path
        The file or folder.
    found : Mapping of str to os.stat_result
        What the system says now of each file, by its path relative to the place.
    """
    known = _read().get(str(place))
    if not isinstance(known, dict):
        return {}
    entries = {path: known.get(path) for path in found}
    return {path: entry[0] for path, entry in entries.items() if entry and entry[1:] == _marks(found[path])}


def keep(place: Path, found: Mapping[str, os.stat_result], digests: Mapping[str, str], began: int) -> None:
    """Remember digests for later trainings, in place of what was known of a file or folder.

    Parameters
    ----------
    place : Path
        The file or folder.
    found : Mapping of str to os.stat_result
        What the system said of each file before it was hashed.
    digests : Mapping of str to str
        The digest of each.
    began : int
        When that was, at the earliest: nanoseconds since the epoch.
    """
    entries = {
        path: [content, *_marks(found[path])]
        for path, content in digests.items()
        if max(found[path].st_mtime_ns, found[path].st_ctime_ns) < began - YOUNG
        and _marks((place / path).stat()) == _marks(found[path])
    }
    with contextlib.suppress(OSError):  # a home that cannot be written: the next training hashes again
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {"version": VERSION, "places": _read() | {str(place): entries}}
        write_whole(file, json.dumps(content, ensure_ascii=False))


def _marks(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _file() -> Path:
    return cache() / f"{PREFIX}digests.json"


def _read() -> dict[str, Any]:
    """Read what is remembered; nothing where the file is of another version, or broken."""
    try:
        content = json.loads(_file().read_bytes())
        return {**content["places"]} if content["version"] == VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
