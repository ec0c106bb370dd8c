"""Whether there is a uv, and how it is had."""

from __future__ import annotations

import shutil

from .errors import ProjectError

#: How uv is had. Debian's Python, and others that a system manages, want to be told (PEP 668).
UV_FIX = "PIP_BREAK_SYSTEM_PACKAGES=1 pip install uv      in PowerShell or cmd: pip install uv"


def require_uv() -> None:
    """Stop, saying how it is had, where there is no uv."""
    if shutil.which("uv") is None:
        raise ProjectError("uv is not on the PATH.", UV_FIX)
