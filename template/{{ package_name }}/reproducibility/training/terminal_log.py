"""What the terminal shows during a training, kept with its run; and Python's `logging`, shown there."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import logging
import os
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import addresses
from ..common.interrupts import Interrupts
from ..common.project import PACKAGE, ROOT
from ..common.scratch import temporary_folder
from ..record.stored_model import attempt
from . import screen

if TYPE_CHECKING:
    from .active_run import ActiveRun

#: The artifact.
LOG = "log.txt"
#: Whose messages are shown from INFO on; those of libraries from WARNING on, as ever.
OWN = ("root", "__main__", PACKAGE)
#: What passes on what is printed, and writes it to a file.
TEE = Path(__file__).with_name("tee.py")


@contextlib.contextmanager
def kept(run: ActiveRun, interrupts: Interrupts, command: bool) -> Iterator[None]:
    """Keep what goes to the terminal as an artifact of a run, however the run ends; also what child processes print.

    Parameters
    ----------
    run : ActiveRun
        The run.
    interrupts : Interrupts
        Held when the training has ended.
    command : bool
        Whether this process is a command, which has a terminal of its own. Else nothing is kept: a notebook shows
        and keeps it itself. So it is on Windows.
    """
    if not command or os.name != "posix":
        yield
        return
    with temporary_folder("log") as folder, (folder / "raw").open("wb", buffering=0) as raw:
        stop, error = _divert(raw.fileno()), ""
        try:
            yield
        except BaseException as raised:
            error = "".join(traceback.format_exception(raised))
            raise
        finally:
            interrupts.hold()
            stop()
            attempt("the terminal's log is not kept", lambda: _keep(run, folder, error))


def _is_kept() -> bool:
    """Tell whether all goes to one file, from which it can be read again: that of a job."""
    import fcntl

    try:
        places = [os.fstat(number) for number in (1, 2)]
        mode = fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:  # closed by the shell
        return False
    return stat.S_ISREG(places[0].st_mode) and os.path.samestat(*places) and mode == os.O_RDWR


def _follow(log: int) -> Callable[[], None]:
    """Give what writes to a log what has been printed to a file since."""
    _flush()
    own = os.dup(1)  # the training may close it
    place = os.fstat(own).st_size

    def stop() -> None:
        nonlocal place
        _flush()
        while piece := os.pread(own, 1 << 20, place):
            place += os.write(log, piece)
        for number in (1, 2):
            os.dup2(own, number)
        os.close(own)

    return stop


def _divert(log: int) -> Callable[[], None]:
    """Let all that is printed go through another process, which writes a log too; give what takes that back."""
    if _is_kept():  # a process takes as long to start as a short training
        return _follow(log)
    _flush()
    former: dict[int, int] = {}
    ways: dict[tuple[int, int], tuple[int, int]] = {}
    pairs: list[int] = []
    for number in (1, 2):
        with contextlib.suppress(OSError):  # closed by the shell
            place = os.fstat(number)
            former[number] = os.dup(number)
            key = place.st_dev, place.st_ino
            if key not in ways:  # where both lead to one place they share a way, and so keep their order
                ways[key] = _terminal(number) if os.isatty(number) else os.pipe()
                pairs += [ways[key][0], former[number]]
            os.dup2(ways[key][1], number)
    (control, tell), (answer, done) = os.pipe(), os.pipe()
    passed = [log, control, done, *pairs]
    line = [sys.executable, "-I", "-S", str(TEE), *map(str, passed)]
    none = subprocess.DEVNULL
    subprocess.Popen(line, stdin=none, stdout=none, stderr=none, pass_fds=passed)
    for number in (control, done, *(end for way in ways.values() for end in way)):
        os.close(number)

    def stop() -> None:
        _flush()
        with contextlib.suppress(BrokenPipeError):  # somebody has killed it
            os.write(tell, b".")  # not by closing it: a process that the training has left behind may hold it too
        os.read(answer, 1)
        for number, own in former.items():
            os.dup2(own, number)
        for number in (tell, answer, *former.values()):
            os.close(number)

    return stop


def _terminal(like: int) -> tuple[int, int]:
    """Make a terminal that changes nothing of what is printed: colours and progress stay as they are in one."""
    import pty
    import termios
    import tty

    master, slave = pty.openpty()
    tty.setraw(slave)
    termios.tcsetwinsize(slave, termios.tcgetwinsize(like))
    return master, slave


def _flush() -> None:
    """Write out what is still held back: by Python, and by libraries in C."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # none, or closed
            stream.flush()
    ctypes.CDLL(None).fflush(None)


def _keep(run: ActiveRun, folder: Path, error: str) -> None:
    """Log what was shown, as a person saw it at the end, without secrets; what a training logs itself stays."""
    import mlflow

    client = mlflow.MlflowClient(run.uri)
    if LOG in {artifact.path for artifact in client.list_artifacts(run.id)}:
        return
    secrets = [secret.encode() for known in (os.environ, _settings()) for secret in addresses.of_environment(known)]
    with (folder / "raw").open("rb") as raw, (folder / LOG).open("wb") as log:
        for line in itertools.chain(screen.left(raw), error.encode(errors="backslashreplace").splitlines()):
            shown = line
            for secret in secrets:
                shown = shown.replace(secret, addresses.MASK.encode())
            log.write(shown + b"\n")
    if (folder / LOG).stat().st_size:
        client.log_artifact(run.id, str(folder / LOG))


def _settings() -> dict[str, str]:
    """Read .env, of which a training may have read what `just` did not load."""
    try:
        lines = (ROOT / ".env").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


@contextlib.contextmanager
def logging_shown() -> Iterator[None]:
    """Show what the project logs by Python's `logging`, from INFO on, unless it has set that up itself."""
    root, former = logging.getLogger(), logging.lastResort
    if root.handlers or root.level != logging.WARNING:
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.partition(".")[0] in OWN)
    # Not a handler of the root logger: with one, `logging.basicConfig` in `train` would do nothing.
    logging.lastResort = handler
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        logging.lastResort = former
        if root.level == logging.INFO:
            root.setLevel(logging.WARNING)
