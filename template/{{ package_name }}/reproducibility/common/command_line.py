"""How a command ends: its exit code, and what a person reads of an error."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import ProjectError, wrapped
from .exit_codes import FAILED, FAULT, INTERRUPTED
from .project import HARNESS, PACKAGE, ROOT


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
