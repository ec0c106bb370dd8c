"""In an image: looks at every installed file, and leaves word of it, so that no run need. Standard library only."""

from __future__ import annotations

import sys
from pathlib import Path

from ..common.command_line import command_line
from ..common.errors import ProjectError
from . import check, installed
from .lockfile import RUNTIME_LOCK


def main() -> None:
    """Refuse an environment, the only argument, that is not what the lock says."""
    prefix = Path(sys.argv[1])
    if problems := installed.find_problems(check.site_packages(prefix), prefix, RUNTIME_LOCK, fresh=True):
        raise ProjectError(f"{prefix} is not what {RUNTIME_LOCK.name} says: {check.said(problems)}.", "just lock")


if __name__ == "__main__":
    command_line(main)
