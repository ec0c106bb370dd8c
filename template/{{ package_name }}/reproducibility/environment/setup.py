"""`just setup`: builds .venv beside the one that is there, and replaces that when the new one is whole."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess

from ..common import shell
from ..common.command_line import command_line
from ..common.errors import ProjectError
from ..common.locking import exclusive
from ..common.project import ROOT
from ..common.uv import require_uv
from ..source.git import git, repository
from . import check, in_use, installed
from .lockfile import DEVELOPMENT_LOCK

VENV = ROOT / ".venv"
#: Where it is built; left there by a setup that was killed.
NEW = ROOT / ".venv.new"
#: The one that was there, between two renames.
OLD = ROOT / ".venv.old"


def build(python: str) -> None:
    """Build the environment, of this version of Python, and put it in the place of the one that is there.

    Raises
    ------
    ProjectError
        If uv refuses the lock or cannot reach the index. The environment that is there is then as it was.
    """
    require_uv()
    with exclusive(NEW):
        if OLD.exists() and not VENV.exists():  # killed between the two renames
            OLD.rename(VENV)
        _remove()
        try:
            _uv("venv", "--quiet", "--python", python, str(NEW))
            _make_movable()
            _uv("pip", "sync", "--python", str(NEW), "--require-hashes", str(DEVELOPMENT_LOCK))
            _heal()
            _swap()
        finally:
            _remove()


def _remove() -> None:
    for left in (NEW, OLD):
        shutil.rmtree(left, ignore_errors=True)


def _heal() -> None:
    """Look at what was built: it came out of uv's cache, which shares its files with other environments."""
    site_packages = check.site_packages(NEW)
    problems = installed.find_problems(site_packages, NEW, DEVELOPMENT_LOCK, fresh=True)
    if not problems:
        return
    print(f"uv's cache is not what {DEVELOPMENT_LOCK.name} says ({check.said(problems)}). Repairing it.")
    if hint := check.hint(problems):
        print(hint.strip())
    check.repair(NEW, site_packages, DEVELOPMENT_LOCK)


def _make_movable() -> None:
    """Let scripts find the environment where it will be: uv's own `--relocatable` does so for some shells only."""
    with (NEW / "pyvenv.cfg").open("a", encoding="utf-8") as file:
        file.write("relocatable = true\n")  # for the scripts of packages
    for script in NEW.glob("[bS]*/activate*"):
        script.write_bytes(script.read_bytes().replace(os.fsencode(NEW), os.fsencode(VENV)))


def _swap() -> None:
    if VENV.is_symlink():  # to an environment of elsewhere, which stays
        VENV.unlink()
    if not VENV.exists():
        NEW.rename(VENV)
        return
    with in_use.alone(VENV):
        try:
            VENV.rename(OLD)
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.EXDEV}:
                raise
            _refill()  # a container's volume, which cannot be renamed
        else:
            NEW.rename(VENV)


def _refill() -> None:
    for entry in VENV.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    shutil.copytree(NEW, VENV, symlinks=True, dirs_exist_ok=True)


def _uv(*arguments: str) -> None:
    if subprocess.run(["uv", *arguments], cwd=ROOT, env=shell.child()).returncode:
        raise ProjectError(
            f"uv refused the lock, or found no such Python, and says why above. {_as_it_was()}",
            f"a wrong or missing hash: git diff {DEVELOPMENT_LOCK.name}; if the lock is at fault: just lock\n"
            "no network: just setup, once it is back",
        )


def _as_it_was() -> str:
    return ".venv is as it was." if VENV.exists() else "There is no .venv."


def switch_on_hooks() -> None:
    """Let git run the project's hooks, where it lies at the top of a repository and has no others."""
    try:
        found = repository()
    except ProjectError as error:
        print(f"{error.cause}\n{error.fix}\nUntil then no run knows its code, and none can be reproduced.")
        return
    if found is None:
        print('No git repository yet: git init && git add -A && git commit -m "Start"')
    elif git("config", "core.hooksPath") in {None, ""} and git("rev-parse", "--show-prefix") == "":
        git("config", "--local", "core.hooksPath", ".githooks")
        print("git hooks: `just check` runs before every commit (git commit --no-verify skips it once).")


def main() -> None:
    """Build .venv, switch the git hooks on where git is, and say what comes next. Commits nothing."""
    parser = argparse.ArgumentParser(prog="just setup", description=build.__doc__)
    parser.add_argument("--python", required=True, help="version of its Python")
    build(parser.parse_args().python)
    switch_on_hooks()
    print("Ready. Next: just doctor, just train, just ui")


if __name__ == "__main__":
    command_line(main)
