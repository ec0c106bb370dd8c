"""Bytecode of installed packages, which Python loads in place of their sources. Standard library only."""

from __future__ import annotations

import contextlib
import filecmp
import importlib.machinery
import importlib.util
import marshal
import os
import shutil
import struct
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: The bytecode that this process wrote, out of sources that had been looked at: absolute path and `stamp`.
written: dict[str, str] = {}


def watch() -> None:
    """Note from now on what this process compiles: only of that is it known what it came from."""
    write = importlib.machinery.SourceFileLoader.set_data

    def set_data(self: Any, path: str, data: bytes, **options: Any) -> None:
        write(self, path, data, **options)
        with contextlib.suppress(OSError):  # where it cannot be written, Python says nothing either
            written[path] = stamp(os.stat(path))  # noqa: PTH116 - thousands of them

    importlib.machinery.SourceFileLoader.set_data = set_data  # type: ignore[method-assign,assignment]


def planted(site_packages: Path, paths: Iterable[str]) -> list[str]:
    """Find bytecode that Python would load though it is not what its source compiles to.

    Parameters
    ----------
    site_packages : Path
        The folder of the packages.
    paths : iterable of str
        The bytecode files to look at, relative to it. About 3 ms each. Those of other Pythons are left to them.
    """
    own = f".{sys.implementation.cache_tag}.pyc"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the sources' own
        return [
            f"{path} is not what its source compiles to"
            for path in sorted(paths)
            if path.endswith(own) and _is_planted(site_packages / path)
        ]


def lend(own: Path, known: Mapping[str, str], new: Path) -> None:
    """Give a new environment the bytecode that this one has, for sources of equal content.

    To compile what it imports would be two fifths of a first run's time; to compile everything, as uv can, two thirds.
    What was not imported here yet, or is of another version, Python compiles as ever.

    Parameters
    ----------
    own, new : Path
        The folders of the packages.
    known : mapping of str to str
        The bytecode of `own` that is what its source compiles to, relative to it, with its `stamp`.
    """
    for name in sorted({os.path.dirname(path) for path in known}):  # noqa: PTH120 - thousands of them
        package = (new / name).parent
        if not package.is_dir() or (new / name).exists():  # uv compiles too where it is told to
            continue
        part = package / "__pycache__.part"
        try:
            part.mkdir()
            for entry in os.scandir(own / name):
                if known.get(f"{name}/{entry.name}") == stamp(entry.stat(follow_symlinks=False)):
                    _lend(Path(entry.path), package, part)
            part.rename(new / name)  # whole or not at all: Python trusts what it finds
        except OSError:  # no space left, for what only saves time
            shutil.rmtree(part, ignore_errors=True)


def stamp(status: os.stat_result) -> str:
    """Tell a file from what it was: size and time."""
    return f"{status.st_size} {status.st_mtime_ns}"


def _lend(bytecode: Path, package: Path, part: Path) -> None:
    name = bytecode.name.partition(".")[0] + ".py"
    source, lent = bytecode.parents[1] / name, package / name
    if not source.exists() or not lent.exists():
        return
    own, new = source.stat(), lent.stat()
    content = bytecode.read_bytes()
    # The same file by uv's hard links, or one of equal content.
    if content[8:16] == _of_source(own) and (os.path.samestat(own, new) or filecmp.cmp(source, lent, shallow=False)):
        (part / bytecode.name).write_bytes(content[:8] + _of_source(new) + content[16:])


def _is_planted(bytecode: Path) -> bool:
    try:
        source = Path(importlib.util.source_from_cache(str(bytecode)))
        content, text = bytecode.read_bytes(), source.read_bytes()
    except (OSError, ValueError):
        return False  # of no source: Python does not look at it
    magic, flags, about = content[:4], int.from_bytes(content[4:8], "little"), content[8:16]
    # PEP 552: by time and size, by the source's hash, or unchecked.
    loads = {0: about == _of_source(source.stat()), 1: True, 3: about == importlib.util.source_hash(text)}
    if magic != importlib.util.MAGIC_NUMBER or not loads.get(flags):
        return False  # Python compiles anew
    try:
        return bool(marshal.loads(content[16:]) != compile(text, source, "exec", dont_inherit=True, optimize=0))  # noqa: S302
    except (EOFError, ValueError, TypeError, SyntaxError):
        return True


def _of_source(source: os.stat_result) -> bytes:
    """Time and size of a source as bytecode holds them, after version and flags (PEP 552)."""
    return struct.pack("<2L", int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF)
