"""Processes that end soon after the one that started them, however that ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from .exit_codes import INTERRUPTED

#: Set for a command that ends with the process of this number, which started it.
VARIABLE = "REPRO_PARENT"
#: Seconds between two looks at whether that is still there.
PAUSE = 0.5


def told() -> dict[str, str]:
    """Give the variable for a command that this process starts."""
    return {VARIABLE: str(os.getpid())}


def follow() -> None:
    """Be interrupted when the process that started this command is gone; what this one starts does not hear of it."""
    parent = os.environ.pop(VARIABLE, "")
    if parent and os.name == "posix":  # elsewhere a command that was started again is another process
        watch(int(parent), lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM))


def watch(parent: int, end: Callable[[], object] = lambda: os._exit(INTERRUPTED)) -> None:
    """Do something when the process that started this one is gone; by default end at once."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(PAUSE)
        end()

    threading.Thread(target=look, daemon=True).start()
