"""A training in several processes, which one more process starts and ends: it has the run and says how they ended."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..common.command_line import answer
from ..common.errors import ProjectError
from ..common.exit_codes import FAILED, INTERRUPTED
from ..common.files import write_whole
from ..common.interrupts import Interrupts
from ..common.project import PACKAGE
from ..common.scratch import temporary_folder
from ..framework import FRAMEWORK
from ..modeling.base import Ended
from . import checkpoint
from .checkpoint import Checkpoint

#: In the folder of such a training: what all start from.
START = "start.zip"


class Said(ProjectError):
    """What a process of a training has put into words before it ended."""

    def show(self) -> int:
        """Print just that, and give its exit code."""
        print(self.cause, end="", file=sys.stderr)
        return self.exit_code


def train(processes: int, start: Checkpoint, run_id: str) -> None:
    """Do a training in several processes; the first of them logs to the run that this process has begun.

    Raises
    ------
    ProjectError
        With what the process said that failed first.
    KeyboardInterrupt
        If one of them was interrupted.
    """
    with temporary_folder("processes") as folder:
        checkpoint.write(folder / START, start)
        options = sys.orig_argv[1 : sys.orig_argv.index("-m")]  # the interpreter's own
        command = [sys.executable, *options, "-m", PACKAGE, "rank", str(folder), run_id, str(os.getpid())]
        if failed := FRAMEWORK.launch(command, processes, folder):
            _tell(failed, processes, folder)


def _tell(failed: dict[int, Ended], processes: int, folder: Path) -> None:
    """Raise what ended the first process that failed; the others ended since it was gone."""
    words = {rank: _words(folder, rank, ended) for rank, ended in failed.items()}
    rank, (_, code, said) = min(words.items(), key=lambda item: item[1])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    raise Said(f"Of {processes} processes that train together, rank {rank} ended first:\n{said}", "", code)


def _words(folder: Path, rank: int, ended: Ended) -> tuple[float, int, str]:
    """Tell when a process failed, with which exit code, and what it said."""
    with contextlib.suppress(OSError):
        when, code, said = json.loads(_note(folder, rank).read_text("utf-8"))
        return when, code, said
    # All that are left when one has failed are ended by SIGTERM.
    when = math.inf if ended.code == -signal.SIGTERM else ended.when
    how = f"exit code {ended.code}" if ended.code >= 0 else signal.Signals(-ended.code).name
    fix = "just train --set processes=1      does it end so alone too?"
    if ended.code == -signal.SIGKILL:
        fix = "If it was ended for want of memory: fewer `processes`, or a smaller model."
    return when, FAILED, f"{ended.said}error: it ended without a word ({how}).\nfix: {fix}\n"


@contextlib.contextmanager
def telling(interrupts: Interrupts, folder: Path, rank: int) -> Iterator[None]:
    """Leave what ends a training in this process to be said by the one that started it, once for all."""
    try:
        yield
    except BaseException as error:
        interrupts.hold()
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = answer(error)
        write_whole(_note(folder, rank), json.dumps([time.time(), code, said.getvalue()]))
        with contextlib.suppress(OSError, ValueError):  # a pipe without a reader; closed by the training
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # at once: the end of the interpreter would wait for what the others were still to send


def _note(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.json"
