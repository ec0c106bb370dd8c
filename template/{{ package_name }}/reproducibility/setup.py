"""The end of `just setup`: git hooks, and what to type next."""

from __future__ import annotations

from . import environment
from .git import git, repository
from .project import ProjectError, command_line


def main() -> None:
    """Switch the git hooks on where git is, and say what comes next. Commits nothing."""
    environment.ensure(fresh=True)
    try:
        found = repository()
    except ProjectError as error:
        print(f"{error.cause}\n{error.fix}\nUntil then no run knows its code, and none can be reproduced.")
        found = None
    else:
        if found is None:
            print('No git repository yet: git init && git add -A && git commit -m "Start"')
    if found and git("config", "core.hooksPath") in {None, ""} and git("rev-parse", "--show-prefix") == "":
        git("config", "--local", "core.hooksPath", ".githooks")
        print("git hooks: `just check` runs before every commit (git commit --no-verify skips it once).")
    print("Ready. Next: just doctor, just train, just ui")


if __name__ == "__main__":
    command_line(main)
