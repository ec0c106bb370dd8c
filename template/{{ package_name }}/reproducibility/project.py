"""Where the project lies, what it is called, and how its errors reach a person."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shlex
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from .waiting import holders, is_locked, patiently

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).resolve().parents[1].name
HARNESS = Path(__file__).resolve().parent
#: Exit codes of commands on runs: a record that is not its run's, as for another result; a part that is missing.
NOT_ITS_RUNS, CANNOT_BE_TRIED = 1, 2
#: Of all: an error that a person can act on, a training that failed; a fault of the harness; an interrupt.
FAILED, FAULT, INTERRUPTED = 3, 70, 130
#: How uv is had. Debian's Python, and others that a system manages, want to be told (PEP 668).
UV_FIX = "PIP_BREAK_SYSTEM_PACKAGES=1 pip install uv      in PowerShell or cmd: pip install uv"
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
        3 for errors, 64 for wrong usage; the README has all.
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


def wrapped(error: BaseException) -> ProjectError | None:
    """Find the error of ours that MLflow wrapped into one of its own, if there is one: `sqlite` raises inside of it."""
    cause: BaseException | None = error
    while cause is not None and type(cause).__module__.startswith("mlflow"):
        cause = cause.__cause__
    return cause if isinstance(cause, ProjectError) else None


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


def require_uv() -> None:
    """Stop, saying how it is had, where there is no uv."""
    if shutil.which("uv") is None:
        raise ProjectError("uv is not on the PATH.", UV_FIX)


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
    """Run a command's body and exit; whatever it raises becomes an exit code and what a person reads.

    Of an exception that is no `ProjectError` it counts whose code raised it. One that came through the project's own
    modules keeps its traceback; the system's refusals are told with the file; all else is a fault of the harness.
    """
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)
    try:
        code = body() or 0
        sys.stdout.flush()  # a full disk is told now, not while the interpreter ends
    except BaseException as error:
        code = answer(error)
    sys.exit(code)


class _Outliving(io.FileIO):
    """A pipe whose reader may go first, as `head` does: the command goes on, and its exit code stays true."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if not isinstance(error, BrokenPipeError):
                raise  # a full disk, which is told once
            return len(content)


def _outliving(stream: Any) -> Any:
    if stream is None:  # closed by the shell
        return open(os.devnull, "w")  # noqa: PTH123 - no path, and open to the end
    if stream not in {sys.__stdout__, sys.__stderr__} or stream.isatty():
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outliving(stream.fileno(), "w", closefd=False)),
        stream.encoding,
        "backslashreplace",  # a name that the terminal cannot show ends no command
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def answer(error: BaseException) -> int:
    """Print what a person should read of an exception, and give the exit code."""
    if isinstance(error, KeyboardInterrupt) or (hasattr(error, "subgroup") and error.subgroup(KeyboardInterrupt)):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    own = own_places(error)
    error = wrapped(error) or error
    if isinstance(error, ProjectError):
        code = error.show()
        return FAILED if own else code  # whatever it was raised for, the training failed
    if isinstance(error, SystemExit):
        return _exited(error, own)
    if isinstance(error, OSError) and not _raised_in(own, error):
        return ProjectError(f"{error}.", "Free disk space or mend that path or its permissions, then try again.").show()
    if own:
        sys.excepthook(type(error), error.with_traceback(own[0]), own[0])  # from the first own line
        return FAILED
    if isinstance(error, MemoryError):
        return ProjectError("the machine's memory does not suffice.", "Free memory, or take less data.").show()
    return _fault(error)


def own_places(error: BaseException) -> list[TracebackType]:
    """Give the places of a traceback that are code of the project's own: none if the harness is at fault."""
    return [place for place in _places(error) if _is_below(place, ROOT) and not _is_below(place, HARNESS)]


def _raised_in(own: list[TracebackType], error: BaseException) -> bool:
    """Tell whether the last code of this project that an exception came from is not the harness's."""
    last = [place for place in _places(error) if _is_below(place, ROOT)][-1:]
    return bool(last) and last == own[-1:]


def _places(error: BaseException) -> Iterator[TracebackType]:
    place = error.__traceback__
    while place is not None:
        yield place
        place = place.tb_next


def _is_below(place: TracebackType, folder: Path) -> bool:
    path = Path(place.tb_frame.f_code.co_filename)
    # Compiled extensions give relative names that look like files of the project; packages may lie in its .venv.
    return path.is_absolute() and "site-packages" not in path.parts and path.resolve().is_relative_to(folder)


def _exited(error: SystemExit, own: list[TracebackType]) -> int:
    """Give the exit code of a command; one that the training chose would be taken for a verdict."""
    if own:
        where = f"{own[-1].tb_frame.f_code.co_filename}, line {own[-1].tb_lineno}"
        said = f"the training called sys.exit({error.code!r}): {where}."
        return ProjectError(said, "Let `train` give back a Result, or raise an exception.").show()
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return FAILED


def _fault(error: BaseException) -> int:
    """Tell of a fault of the harness in one screen; the traceback goes to a file."""
    whole = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    summary = traceback.format_exception_only(type(error), error)[-1].strip()[:300]
    try:
        handle, name = tempfile.mkstemp(prefix=f"{PACKAGE}-fault-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(whole)
    except OSError as why:
        print(whole, file=sys.stderr)
        name = f"what stands above: no file could be written ({why.strerror})"
    fix = (
        f"The traceback is in {name}\n"
        "If it names nothing that you gave, send it to the template's authors (`_src_path` in .copier-answers.yml)."
    )
    return ProjectError(f"a fault of the harness, or of what it was given: {summary}", fix, FAULT).show()
