"""The end of `just setup`: git hooks, and what to type next."""

from __future__ import annotations

from . import environment
from .project import command_line
from .source import git


def main() -> None:
    """Switch the git hooks on where git is, and say what comes next. Commits nothing."""
    environment.ensure(fresh=True)
    if git("rev-parse", "--is-inside-work-tree") is None:
        print('No git repository yet: git init && git add -A && git commit -m "Start"')
    elif git("config", "core.hooksPath") in {None, ""} and git("rev-parse", "--show-prefix") == "":
        git("config", "--local", "core.hooksPath", ".githooks")
        print("git hooks: `just check` runs before every commit (git commit --no-verify skips it once).")
    print("Ready. Next: just doctor, just train, just ui")


if __name__ == "__main__":
    command_line(main)
