"""Where the project lies, what it is called, and how its errors reach a person."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shlex
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .waiting import holders, is_locked, patiently

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).resolve().parents[1].name
#: How long one process waits for what another builds, in seconds: an environment, at the worst.
PATIENCE = 1800


class ProjectError(Exception):
    """An error that a person can act on: printed once, at the command line, without a traceback.

    Parameters
    ----------
    cause : str
        What is wrong, with what was expected and what was found.
    fix : str
        What to do about it: commands, one a line.
    exit_code : int, default 3
        3 for errors, 64 for wrong usage.
    """

    def __init__(self, cause: str, fix: str, exit_code: int = 3) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = fix
        self.exit_code = exit_code

    def show(self) -> int:
        """Print cause and fix to standard error, and give the exit code back."""
        indented = self.fix.replace("\n", "\n     ")
        print(f"error: {self.cause}{f'{chr(10)}fix: {indented}' if indented else ''}", file=sys.stderr)
        return self.exit_code


@functools.cache
def options() -> dict[str, str]:
    """Read `[tool.reproducibility]` of pyproject.toml: `experiment` and `tracking-uri`."""
    import tomllib

    try:
        pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        found: dict[str, str] = pyproject["tool"]["reproducibility"]
        return {"experiment": found["experiment"], "tracking-uri": found["tracking-uri"]}
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(
            f"pyproject.toml cannot be used: {error!r}.",
            "It needs [tool.reproducibility] with `experiment` and `tracking-uri`; see `git diff pyproject.toml`.",
        ) from error


def absolute(path: str) -> Path:
    """Make a path from the command line absolute: relative to where the person stands, else to the project."""
    here = Path(os.environ.get("INVOCATION_DIRECTORY", ".")) / path
    return here.resolve() if here.exists() else (ROOT / path).resolve()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file wholly or not at all: to a temporary file beside it, then renamed over it.

    Parameters
    ----------
    path : Path
        The file to create or replace.
    content : str or bytes
        All of it; text is written as UTF-8 with the line ends that it has.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the right to build one thing; the system takes it back from a process that dies.

    Raises
    ------
    ProjectError
        If the lock cannot be had: another process holds it for longer than `PATIENCE`, or its file cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(contextlib.closing(sqlite3.connect(file, timeout=0, isolation_level=None)))
            patiently(lambda: lock.execute("BEGIN EXCLUSIVE"), file, f"the right to make {path.name}", PATIENCE)
        except sqlite3.DatabaseError as error:
            if is_locked(error):
                raise ProjectError(f"{file} is still locked by {holders(file)}.", "Wait for it, or end it.") from error
            raise ProjectError(
                f"the lock {file} cannot be used: {error}.", f"ls -l {shlex.quote(str(file))}      who may write it?"
            ) from error
        yield


def command_line(body: Callable[[], int | None]) -> Any:
    """Run a command's body and exit: errors are printed once, an interrupt is 130."""
    try:
        sys.exit(body() or 0)
    except ProjectError as error:
        sys.exit(error.show())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}:
            raise  # the project's own code, which wants its traceback
        sys.exit(ProjectError(f"{error}.", "Free disk space or mend the permissions, then run it again.").show())
