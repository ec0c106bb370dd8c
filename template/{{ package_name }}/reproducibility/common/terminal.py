"""How the project speaks to a person: its colours, its widths, and what is shown while they wait.

Imported by what must run in a bare Python: of Rich, which comes with the locked packages, only in functions.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from . import exit_codes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

#: In which style of Rich's a verdict stands.
VERDICTS = {exit_codes.IDENTICAL: "bold green", exit_codes.EQUIVALENT: "bold yellow", exit_codes.DIFFERENT: "bold red"}
#: How a table of Rich's has no lines.
PLAIN: dict[str, Any] = {"box": None, "pad_edge": False}
#: In which colour, by its code (ECMA-48, "select graphic rendition"), a word begins a line.
WORDS = {"error": "1;31", "fix": "1", "notice": "33", "ok": "32", "FAIL": "1;31"}
#: What is shown now of all that is waited for: a wait within another takes its place for a while.
_shown: list[Progress] = []


def _is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream leads to a terminal; a training may have put anything in the place of one."""
    try:
        return os.isatty(stream.fileno())
    except (AttributeError, OSError, ValueError):  # no such method, no file, or closed
        return False


def word(name: str, stream: TextIO) -> str:
    """Colour one of `WORDS` for a stream, where it is a terminal that wants colours (see no-color.org)."""
    wanted = (
        _is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")
    )
    return f"\x1b[{WORDS[name]}m{name}\x1b[0m" if wanted else name


def notice(said: str) -> None:
    """Tell a person what they should know, and what stops nothing."""
    print(f"{word('notice', sys.stderr)}: {said}", file=sys.stderr, flush=True)


def begin(what: str) -> None:
    """Say at a terminal, and only there, what takes a while from now on, where a child may write to it too."""
    if _is_terminal(sys.stderr):
        print(what, file=sys.stderr, flush=True)


def console() -> Console:
    """Print as wide as the terminal is; into a file or pipe, where nobody can widen it, as wide as it takes."""
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False, width=None if _is_terminal(sys.stdout) else 200)


def bar(what: str, size: int, hidden: bool = False) -> Any:
    """Make a bar of so many bytes, which its `update` says are done; into a file or pipe it only says what."""
    import click

    return click.progressbar(length=size, label=what, file=sys.stderr, hidden=hidden)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show what a person waits for, and for how long by now, and take it away again: at a terminal, and only there.

    Meanwhile nobody else writes to the terminal but this process: a child that does so would write into the line.

    Parameters
    ----------
    what : str
        What goes on: "building the wheel".
    """
    if _shown:
        task = _shown[-1].tasks[0]
        outer = task.description
        _shown[-1].update(task.id, description=what, refresh=True)
        try:
            yield
        finally:
            _shown[-1].update(task.id, description=outer)
    elif not _is_terminal(sys.stderr) or os.environ.get("TERM") == "dumb":
        yield
    else:
        with _line() as line:
            line.add_task(what)
            _shown.append(line)
            try:
                yield
            finally:
                _shown.pop()


@contextlib.contextmanager
def _line() -> Iterator[Progress]:
    """Give a line of the terminal itself, wherever what is printed to standard error goes meanwhile."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    encoding = getattr(sys.stderr, "encoding", None)
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=encoding, errors="replace") as file:
        console = Console(file=file, soft_wrap=True)
        # What else is printed meanwhile goes above the line; into a file or pipe it goes as it is.
        with Progress(*columns, console=console, transient=True, redirect_stdout=_is_terminal(sys.stdout)) as line:
            yield line
