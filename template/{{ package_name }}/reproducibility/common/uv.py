"""Whether there is a uv, and how to get one. As a command, it says so where there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from . import shell
from .command_line import command_line
from .errors import ProjectError

#: The way to get uv. Debian's Python, and others that a system manages, want to be told (PEP 668).
UV_FIX = "PIP_BREAK_SYSTEM_PACKAGES=1 pip install uv      in PowerShell or cmd: pip install uv"


def require_uv() -> None:
    """Stop with an error that says how to get uv, where there is none."""
    if shutil.which("uv") is None:
        raise ProjectError("uv is not on the PATH.", UV_FIX)


def cache() -> Path | None:
    """Give the folder of uv's cache; None where there is no uv, or it has not got one."""
    if (uv := shutil.which("uv")) is None:
        return None
    done = subprocess.run([uv, "cache", "dir"], env=shell.child(), capture_output=True, text=True)
    folder = Path(done.stdout.strip())
    return folder if done.returncode == 0 and folder.is_dir() else None


if __name__ == "__main__":
    command_line(require_uv)
