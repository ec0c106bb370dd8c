"""`just release X.Y.Z`: check that everything says so, then tag it. Pushes nothing."""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from packaging.version import InvalidVersion, Version

import contract
import releases
from releases import git

ROOT = Path(__file__).resolve().parents[1]
BRANCH = "main"


def find_problems(version: str, root: Path) -> list[str]:
    """Say what stands against releasing HEAD as a version.

    Parameters
    ----------
    version : str
        As it was typed.
    root : Path
        The repository.

    Returns
    -------
    list of str
        One line a problem, with its fix; empty if there is none.
    """
    try:
        number = Version(version)
    except InvalidVersion:
        return [f"{version!r} is not a version (PEP 440); Copier could not order it. Such as 0.2.0."]
    problems = []
    if str(number) != version or number.local:
        problems.append(f"{version} is written {number.public}.")
    tags = []
    for tag in git(root, "tag", "--list").splitlines():
        with contextlib.suppress(InvalidVersion):
            tags.append(Version(tag))
    if tags and number <= max(tags):
        problems.append(f"{version} is not greater than {max(tags)}, the last release.")
    if (branch := git(root, "branch", "--show-current")) != BRANCH:
        problems.append(f"this is {branch or 'a detached HEAD'}, not {BRANCH}: git switch {BRANCH}")
    if git(root, "status", "--porcelain"):
        problems.append("there is uncommitted work: commit it, or put it aside.")
    found = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    if found != version:
        problems.append(f'pyproject.toml has version = "{found}".')
    path = root / "CHANGELOG.md"
    changelog = path.read_text("utf-8") if path.exists() else ""
    name = re.escape(version)
    if not re.search(rf"^## \[{name}\] - \d{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$", changelog, re.MULTILINE):
        problems.append(f'CHANGELOG.md has no entry "## [{version}] - YYYY-MM-DD".')
    if not re.search(rf"^\[{name}\]: \S+$", changelog, re.MULTILINE):
        problems.append(f'CHANGELOG.md has no link "[{version}]: …" at its end.')
    if not problems:
        problems = contract.find_problems(root, releases.find(root))
    return problems


def find_red(root: Path) -> list[str]:
    """Run every test there is and the checks, and say what is not green."""
    commands = (["just", "check"], ["just", "test-all"])
    return [
        f"`{' '.join(command)}` fails: see above."
        for command in commands
        if subprocess.run(command, cwd=root).returncode
    ]


def main(arguments: list[str] | None = None, root: Path = ROOT, test: Callable[[Path], list[str]] = find_red) -> int:
    """Parse the command line, check and tag.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; that of the process by default.
    root : Path
        The repository.
    test : callable
        Says what is not green.

    Returns
    -------
    int
        0 if the release is tagged (or, with `--dry-run`, could be), 1 if something stands against it.
    """
    parser = argparse.ArgumentParser(prog="just release", description="Check that everything is ready, then tag HEAD.")
    parser.add_argument("version", help="PEP 440, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="only check, and run no tests")
    given = parser.parse_args(arguments)
    problems = find_problems(given.version, root) or ([] if given.dry_run else test(root))
    if problems:
        print(
            f"not released as {given.version}:", *(f"  - {problem}" for problem in problems), sep="\n", file=sys.stderr
        )
        return 1
    commit = git(root, "rev-parse", "--short", "HEAD")
    if given.dry_run:
        print(f"{commit} can be released as {given.version}. Nothing was changed.")
        return 0
    git(root, "tag", "--annotate", "--message", f"copier-mlflow {given.version}", given.version)
    print(f"{commit} is tagged {given.version}. To publish it:\n\n  git push origin {BRANCH} {given.version}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(error.cmd)}: {error.stderr.strip()}", file=sys.stderr)
        sys.exit(3)
