"""The releases of the template, derived from its history: the commits whose version and changelog say so."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    """Ask git in a repository.

    Raises
    ------
    subprocess.CalledProcessError
        If git fails.
    """
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def find(root: Path) -> dict[str, str]:
    """Find the commit of every release: the first whose pyproject.toml and CHANGELOG.md both name the version.

    Parameters
    ----------
    root : Path
        The repository, with all of its history.

    Returns
    -------
    dict
        The commit of each version, the oldest first.

    Raises
    ------
    ValueError
        In a shallow clone, which hides releases.
    """
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise ValueError("this is a shallow clone, which hides releases: git fetch --unshallow")
    found: dict[str, str] = {}
    for commit in git(
        root, "rev-list", "--reverse", "--first-parent", "HEAD", "--", "pyproject.toml", "CHANGELOG.md"
    ).split():
        version = _version(root, commit)
        changelog = _show(root, commit, "CHANGELOG.md")
        if (
            version
            and version not in found
            and re.search(rf"^## \[{re.escape(version)}\] - \d", changelog, re.MULTILINE)
        ):
            found[version] = commit
    return found


def _version(root: Path, commit: str) -> str:
    try:
        return str(tomllib.loads(_show(root, commit, "pyproject.toml"))["project"]["version"])
    except (KeyError, tomllib.TOMLDecodeError):
        return ""


def _show(root: Path, commit: str, path: str) -> str:
    try:
        return git(root, "show", f"{commit}:{path}")
    except subprocess.CalledProcessError:
        return ""
