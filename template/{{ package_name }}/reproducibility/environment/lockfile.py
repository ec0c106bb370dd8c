"""What a lock pins. Standard library only."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path
from typing import NamedTuple

from ..common.errors import ProjectError
from ..common.project import ROOT
from . import markers
from .requirements import normalized

RUNTIME_LOCK = ROOT / "constraints.txt"
DEVELOPMENT_LOCK = ROOT / "constraints-dev.txt"
#: Of what speaks to a cluster; projects that are older than it have none.
CLUSTER_LOCK = ROOT / "constraints-cluster.txt"
#: Of the tracking server, where the project has one.
SERVER_LOCK = ROOT / "tracking-server" / "constraints.txt"
#: An entry of a lock: the package, `==version` or ` @ address`, and where it holds.
PIN = re.compile(r"^([\w.-]+)(==[^\s;]+| @ \S+)(?: ; ([^\\\n]*))?", re.MULTILINE)


def read_lock(lock: Path) -> dict[str, tuple[str, str]]:
    """Read a lock as `{name: (version, marker)}`; of a package that it pins for several systems, what holds here.

    Raises
    ------
    ProjectError
        If the lock is missing or holds no pinned requirement.
    """
    try:
        found = pins(lock)
    except OSError as error:
        raise ProjectError(f"the lock {shown(lock)} is missing.", f"git checkout -- {shown(lock)}") from error
    if not found:
        raise ProjectError(f"the lock {shown(lock)} pins nothing.", f"git checkout -- {shown(lock)}")
    locked: dict[str, tuple[str, str]] = {}
    for pin in found:
        if pin.name not in locked or markers.holds(pin.marker):
            locked[pin.name] = (pin.version, pin.marker)
    return locked


def shown(lock: Path) -> str:
    """Name a lock as people do: from the project's folder."""
    return lock.relative_to(ROOT).as_posix() if lock.is_relative_to(ROOT) else lock.name


class Pin(NamedTuple):
    """An entry of a lock, without hashes; as text, the requirement that it is.

    Parameters
    ----------
    name : str
        The package's, as all spellings of it share it.
    which : str
        `==version` or ` @ address`.
    marker : str
        Where it holds; "" for everywhere.
    """

    name: str
    which: str
    marker: str

    def __str__(self) -> str:
        """Write it as a lock does."""
        return f"{self.name}{self.which}{f' ; {self.marker}' if self.marker else ''}"

    @property
    def has_address(self) -> bool:
        """Whether a wheel at an address is pinned, instead of a version."""
        return self.which.startswith(" @ ")

    @property
    def version(self) -> str:
        """Give the version that is pinned; of an address, that of the wheel there."""
        if self.has_address:
            return urllib.parse.unquote(self.which.rpartition("/")[2]).split("-")[1]
        return self.which.removeprefix("==")


def pins(lock: Path) -> list[Pin]:
    """Read every entry of a lock, for whatever system it is."""
    found = PIN.findall(lock.read_text("utf-8"))
    return [Pin(normalized(name), which, marker.strip()) for name, which, marker in found]
