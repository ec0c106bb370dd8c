"""Start this very command again, where its interpreter has read what it should not have. Standard library only."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

#: Set in a process that was started again: for what, so that it never is twice.
RESTARTED = "REPRO_RESTARTED"


def restart(reason: str) -> NoReturn:
    """Start this command again, with the environment variables as they are now.

    Parameters
    ----------
    reason : str
        A word by which the new process asks `was_for`, so that it does not start again in turn.
    """
    os.environ[RESTARTED] = reason
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    command = [sys.executable, *sys.orig_argv[1:]]
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - replaces this process: same PID, signals, exit code
    sys.exit(subprocess.run(command).returncode)


def was_for(reason: str) -> bool:
    """Tell whether this process was started again for a reason, and forget it: its children were not."""
    if os.environ.get(RESTARTED) != reason:
        return False
    del os.environ[RESTARTED]
    return True
