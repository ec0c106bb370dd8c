"""What libraries tell of themselves, kept from the terminal unless `-v` asks for it; what goes wrong is shown.

A file of its own too, which the interpreter executes without this package: it passes on what is printed while a library
is imported, and outlives a crash. Standard library only.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Set by `-v`, for all that is started here.
VERBOSE = "REPRO_VERBOSE"
#: Ends what is printed during an import, with how that went.
MARK = b"\0"
WELL, FAILED = MARK + b"well\n", MARK + b"failed\n"


def told() -> dict[str, str]:
    """Let what is started with variables of its own tell as much as this process."""
    return {VERBOSE: "1"} if VERBOSE in os.environ else {}


class Importing:
    """Finds a package as Python does, and keeps what it tells while it is imported from the terminal.

    Parameters
    ----------
    package : str
        Its name.
    talk : str
        A pattern of how lines begin that nobody needs to see, unless the import fails.
    level : str
        The environment variable that the package reads meanwhile: from "0", it tells all, to "3", next to nothing.
    """

    def __init__(self, package: str, talk: str, level: str) -> None:
        self.package, self.talk, self.level = package, talk, level

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the package, once."""
        if name != self.package:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader(Loader):
    """Loads a package as another loader does, which then stands in its place."""

    def __init__(self, loader: Loader, about: Importing) -> None:
        self.loader, self.about = loader, about

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__:
            module.__spec__.loader = self.loader
        verbose, level = VERBOSE in os.environ, os.environ.get(self.about.level)
        os.environ[self.about.level] = "0" if verbose else "3"
        with contextlib.nullcontext() if verbose else _held_back(self.about.talk):
            try:
                self.loader.exec_module(module)
            finally:
                # Whatever is told, a run is recorded as it was launched.
                del os.environ[self.about.level]
                os.environ |= {} if level is None else {self.about.level: level}


@contextlib.contextmanager
def _held_back(talk: str) -> Iterator[None]:
    """Let what is printed to the terminal's second output go through another process, which leaves out the talk."""
    try:
        former = os.dup(2)
    except OSError:  # closed by the shell
        yield
        return
    _flush()
    (source, way), (answer, done) = os.pipe(), os.pipe()
    subprocess.Popen([sys.executable, "-I", "-S", __file__, talk], stdin=source, stdout=done)
    os.dup2(way, 2)
    for number in (source, way, done):
        os.close(number)
    end = WELL
    try:
        yield
    except Exception:
        end = FAILED
        raise
    finally:
        _flush()
        with contextlib.suppress(OSError):  # somebody has killed it
            os.write(2, end)
        os.dup2(former, 2)
        os.read(answer, 1)  # until all is shown
        for number in (former, answer):
            os.close(number)


def _flush() -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):  # none, or closed
        sys.stderr.flush()


def main(talk: str) -> None:
    """Pass on what comes until the mark, without the talk if all went well; and then what else comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends when nobody prints any more
    lines, mark, end = [], b"", b""
    while not mark and (line := sys.stdin.buffer.readline()):
        told, mark, end = line.partition(MARK)
        lines.append(told)
    pattern = re.compile(talk.encode())
    sys.stderr.buffer.writelines(line for line in lines if mark + end != WELL or not pattern.match(line))
    sys.stderr.buffer.flush()
    os.close(1)
    for line in sys.stdin.buffer:  # of a process that was started meanwhile
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
