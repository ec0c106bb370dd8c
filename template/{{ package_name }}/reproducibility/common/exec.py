"""Runs a command in what of the shell reaches it: `python -m ….exec COMMAND …`."""

from __future__ import annotations

import os
import subprocess
import sys

from . import shell


def main() -> None:
    """Become the command that the arguments are, or run it; does not return."""
    command = sys.argv[1:]
    if os.name == "posix":
        os.execvpe(command[0], command, shell.child())  # noqa: S606 - a signal to `just` then reaches the command itself
    sys.exit(subprocess.run(command, env=shell.child()).returncode)


if __name__ == "__main__":
    main()
