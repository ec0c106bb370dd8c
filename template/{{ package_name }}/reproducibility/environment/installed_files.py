"""Installed files, compared with what their wheels recorded. Standard library only."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.machinery
import os
from pathlib import Path

from .lockfile import pins
from .requirements import normalized

INSTALLER_FILES = {"_virtualenv.py", "_virtualenv.pth", "distutils-precedence.pth"}
#: What Python imports or obeys.
CODE = (*importlib.machinery.all_suffixes(), ".pth")


def changed(site_packages: Path, lock: Path) -> list[str]:
    """Compare every installed file with the digest in its wheel's RECORD; find the code that is in none."""
    problems = []
    addressed = {pin.name for pin in pins(lock) if pin.has_address}
    for folder in sorted(site_packages.glob("*.dist-info")):
        package, record = folder.name.removesuffix(".dist-info"), folder / "RECORD"
        name = normalized(package.rpartition("-")[0])
        from_elsewhere = (folder / "direct_url.json").exists() and name not in addressed
        if not record.exists() or from_elsewhere:
            problems.append(f"{package} did not come from a package index, or its RECORD is missing")
            continue
        problems += [
            f"{path} of {package} was changed or is missing"
            for path, digest in _entries(record)
            if digest.startswith("sha256=") and not _has_digest(site_packages / path, digest[7:])
        ]
    strange = surplus(site_packages, recorded(site_packages))
    return problems + [f"{path} belongs to no package" for path in strange]


def recorded(site_packages: Path) -> set[str]:
    """Name every file that a package brought."""
    records = site_packages.glob("*.dist-info/RECORD")
    return INSTALLER_FILES | {path for record in records for path, _ in _entries(record)}


def _entries(record: Path) -> list[tuple[str, str]]:
    """Read path and digest of every file of a package."""
    with record.open(encoding="utf-8", newline="") as lines:
        return [(path, digest) for path, digest, _size in csv.reader(lines)]


def surplus(site_packages: Path, recorded: set[str]) -> list[str]:
    """List the code that no package brought and Python would import all the same; links too, as they may lead to it."""
    found = []
    for folder, folders, files in os.walk(site_packages):
        prefix = "" if Path(folder) == site_packages else Path(folder).relative_to(site_packages).as_posix() + "/"
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114 - thousands of them
        code = [name for name in files if name.endswith(CODE)]
        if prefix.endswith("__pycache__/"):
            code = [name for name in code if not name.endswith(".pyc")]  # looked at on its own
        found += [f"{prefix}{name}" for name in links + code if f"{prefix}{name}" not in recorded]
    return sorted(found)


def _has_digest(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == digest
