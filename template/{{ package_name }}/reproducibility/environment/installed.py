"""Installed packages, compared with a lock. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from ..common.files import write_whole
from . import bytecode, markers
from .installed_files import changed
from .lockfile import read_lock
from .requirements import normalized

#: Left in an environment that was found whole: the lock's digest, size and time of every file, and of the bytecode
#: that is known to be what its source compiles to. (Older releases left `verified.json`, having looked at less.)
MARKER = "as-locked.json"
#: Installed by environment managers themselves, not by the lock.
INSTALLERS = {"pip", "setuptools", "wheel"}
#: Where packages put scripts and data, beside their folder.
OUTSIDE = ("bin", "Scripts", "share", "etc")


def find_problems(site_packages: Path, prefix: Path, lock: Path, files: bool = True, fresh: bool = False) -> list[str]:
    """Compare installed packages with a lock.

    Parameters
    ----------
    site_packages : Path
        The folder of the installed packages.
    prefix : Path
        The environment's root, where the marker of the last look lies.
    lock : Path
        A requirements file with hashes.
    files : bool, default True
        Also compare the installed files with what their wheels recorded, and bytecode with its source.
    fresh : bool, default False
        It was made just now, where nobody else could reach it: its bytecode is what was compiled then.

    Returns
    -------
    list of str
        One phrase a problem; empty if the environment is what the lock says.
    """
    problems = wrong_packages(site_packages, lock)
    if problems or not files:
        return problems
    snapshot, compiled = _snapshot(site_packages, prefix)
    seen = {"lock": hashlib.sha256(lock.read_bytes()).hexdigest(), "files": snapshot, "bytecode": compiled}
    last = _last_look(prefix)
    if (last.get("lock"), last.get("files")) != (seen["lock"], snapshot):
        problems = changed(site_packages, lock)
    # Bytecode takes seconds. Where its user can write nothing, an image's for example, who should have planted it?
    if not problems and not fresh and os.access(prefix, os.W_OK):
        known = last["bytecode"] if last.get("lock") == seen["lock"] else {}
        problems = bytecode.planted(site_packages, (path for path in compiled if known.get(path) != compiled[path]))
    if not problems and seen != last:
        _keep(prefix, seen)
    return problems


def remember() -> None:
    """Add to the last look what this process has compiled since: it need not be looked at then."""
    prefix, site_packages = Path(sys.prefix), Path(sysconfig.get_path("purelib"))
    start = f"{site_packages}{os.sep}"
    own = {path: stamp for path, stamp in bytecode.written.items() if path.startswith(start)}
    # Only what came from sources that were looked at.
    if own and (last := _last_look(prefix)).get("files") == _snapshot(site_packages, prefix)[0]:
        last["bytecode"] |= {path[len(start) :].replace(os.sep, "/"): stamp for path, stamp in own.items()}
        _keep(prefix, last)


def known_bytecode(prefix: Path) -> dict[str, str]:
    """Give the bytecode of an environment that is what its source compiles to, with size and time of then."""
    known: dict[str, str] = _last_look(prefix).get("bytecode", {})
    return known


def installed(site_packages: Path) -> dict[str, str]:
    """Give name and version of every installed package."""
    return dict(_distributions(site_packages))


def _distributions(site_packages: Path) -> list[tuple[str, str]]:
    folders = (folder.name.removesuffix(".dist-info").rpartition("-") for folder in site_packages.glob("*.dist-info"))
    return [(normalized(name), version) for name, _, version in sorted(folders)]


def wrong_packages(site_packages: Path, lock: Path, surplus: bool = False) -> list[str]:
    """Compare names and versions with a lock; `surplus` packages may be allowed."""
    locked, distributions = read_lock(lock), _distributions(site_packages)
    found = dict(distributions)
    names = [name for name, _ in distributions]
    problems = [f"{name} is installed twice" for name in found if names.count(name) > 1]
    for name, version in found.items():
        if name not in locked:
            if name not in INSTALLERS and not surplus:
                problems.append(f"{name} {version} is not locked")
        elif version != locked[name][0]:
            problems.append(f"{name} is {version}, locked is {locked[name][0]}")
    absent = [name for name in locked if name not in found]
    return problems + [f"{name} is missing" for name in absent if markers.holds(locked[name][1])]


def _last_look(prefix: Path) -> dict[str, Any]:
    try:
        last: dict[str, Any] = json.loads((prefix / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return last


def _keep(prefix: Path, seen: dict[str, Any]) -> None:
    # Someone else's environment, a container's for example: look again next time.
    with contextlib.suppress(OSError):
        write_whole(prefix / MARKER, json.dumps(seen, sort_keys=True))  # the same bytes in every image


def _snapshot(site_packages: Path, prefix: Path) -> tuple[str, dict[str, str]]:
    """Digest name, size and time of every installed file, and list those of the bytecode."""
    lines: list[str] = []
    compiled: dict[str, str] = {}
    pending = [(str(site_packages), "")]
    if (prefix / "pyvenv.cfg").exists():  # else it may be all of /usr
        pending += [(str(prefix / name), f"../{name}/") for name in OUTSIDE if (prefix / name).is_dir()]
    while pending:
        path, place = pending.pop()
        is_cache = place.endswith("__pycache__/")
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{place}{entry.name}/"))
                    continue
                status = entry.stat(follow_symlinks=False)
                if not is_cache:
                    lines.append(f"{place}{entry.name} {bytecode.stamp(status)}")
                elif entry.name.endswith(".pyc"):
                    compiled[place + entry.name] = bytecode.stamp(status)
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest(), compiled
