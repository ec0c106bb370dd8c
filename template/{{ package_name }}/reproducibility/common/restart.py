"""Start this very command again, where its interpreter has read what it should not have. Standard library only."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

VARIABLE = "REPRO_RESTARTED"
#: For what this process was started again: never twice for the same. What it starts itself was not.
REASONS = os.environ.pop(VARIABLE, "").split()


def restart(reason: str) -> NoReturn:
    """Start this command again, with the environment variables as they are now, and one word more in `REASONS`."""
    os.environ[VARIABLE] = " ".join([*REASONS, reason])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    command = [sys.executable, *sys.orig_argv[1:]]
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - replaces this process: same PID, signals, exit code
    sys.exit(subprocess.run(command).returncode)
