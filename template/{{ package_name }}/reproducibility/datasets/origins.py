"""What `data-add` is given, and by which path an entry names a place."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.files import absolute
from ..common.project import ROOT
from . import archives, manifest, tables


class Origin(NamedTuple):
    """What was named: where it lies, what it is called, and of which kind it is by that name."""

    place: Path
    remote: bool
    inside: bool
    name: str
    suffix: str
    archive: str

    @classmethod
    def of(cls, origin: str, packed: bool) -> Origin:
        """Look at a path or address, and whether there is something."""
        remote = "://" in origin or origin.startswith("runs:/")
        place = _lexical(origin)
        if not remote and not place.exists():
            raise ProjectError(f"{origin} does not exist.", "Check the path.", exit_code=USAGE)
        if not remote and (ROOT.is_relative_to(place) or manifest.MANIFEST.is_relative_to(place)):
            fix = "Give a folder that has data alone."
            raise ProjectError(f"{origin} holds the project itself.", fix, exit_code=USAGE)
        name = unquote(re.split("[?#]", origin)[0].rstrip("/").rpartition("/")[2]) if remote else place.name
        is_folder = origin.endswith("/") if remote else place.is_dir()
        archive = "" if is_folder or packed else archives.ending(name)
        suffix = "" if is_folder else archive or tables.suffix(name) or Path(name).suffix
        return cls(place, remote, not remote and _is_inside(place), name, suffix, archive)


def _lexical(origin: str) -> Path:
    """Make a path absolute; a link in the project stays one, wherever it leads."""
    here = os.path.normpath(Path(os.environ.get("INVOCATION_DIRECTORY", ".")).resolve() / origin)
    for place in (Path(here), Path(os.path.normpath(ROOT / origin))):
        if place.is_relative_to(ROOT) and place.exists():
            return place
    return absolute(origin)


def _is_inside(place: Path) -> bool:
    return any(place.is_relative_to(folder) for folder in (ROOT, manifest.data_root()) if folder)


def named(place: Path) -> str:
    """Give the path by which an entry names a place."""
    root = manifest.data_root()
    path = place.relative_to(ROOT) if place.is_relative_to(ROOT) or not root else "data" / place.relative_to(root)
    return path.as_posix()
