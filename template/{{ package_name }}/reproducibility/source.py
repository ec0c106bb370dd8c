"""The code of a run: which commit, and whether there was uncommitted work."""

from __future__ import annotations

import subprocess

from .project import PACKAGE, ROOT


def git(*arguments: str) -> str | None:
    """Ask git, in the project's folder; None where there is no git, no repository or no answer."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def committed(path: str) -> bytes | None:
    """Give a file's bytes as the last commit has them, or None if it has not got the file."""
    command = ["git", "-C", str(ROOT), "cat-file", "blob", f"HEAD:./{path}"]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def state() -> dict[str, str]:
    """Tell commit and cleanliness.

    Returns
    -------
    dict of str to str
        `commit`: 40 hexadecimal digits, or "none" outside git. `dirty`: "true" where anything is
        uncommitted, untracked or ignored with the whole project, "unknown" outside git.
    """
    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--untracked-files=normal")
    # A repository further up that ignores this folder has a commit and a clean tree, and no line of this code.
    tracked = git("ls-files", "--", f"{PACKAGE}/__main__.py")
    dirty = "unknown" if status is None else str(bool(status) or not tracked).lower()
    return {"commit": commit or "none", "dirty": dirty}
