"""What Python imports of the project, as it was then: a file may be edited while a training runs."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from ..common.project import ROOT

#: Where Python and packages lie, as they are called and as they are.
INSTALLED = tuple(
    f"{place}{os.sep}"
    for name in {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    for place in {name, os.path.realpath(name)}
)
OWN = f"{ROOT}{os.sep}"
#: Nobody edits these while a training runs, and to compile them each time costs a tenth of a second.
HARNESS = f"{Path(__file__).parents[1]}{os.sep}"
#: Environments in the project.
OWN_INSTALLED = (f"{ROOT / '.venv'}{os.sep}", *(place for place in INSTALLED if place.startswith(OWN)))
#: The content of every file that was imported since `watch`, or shortly before it.
_seen: dict[str, bytes] = {}
#: Modules of Python and of packages: in a forked process each look at one copies the memory that it lies in.
_foreign: set[str] = set()


class _Loader(SourceFileLoader):
    """Compiles what it has read and noted: cached bytecode may be of an older edit."""

    def get_code(self, fullname: str) -> CodeType:
        _seen[self.path] = self.get_data(self.path)
        code: CodeType = self.source_to_code(_seen[self.path], self.path)
        return code


class _Finder:
    """Finds modules as Python does, and has those of the project loaded by `_Loader`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.has_location and spec.origin and _is_own(spec.origin):
            _foreign.discard(name)
            if type(spec.loader) is SourceFileLoader and not spec.origin.startswith(HARNESS):
                spec.loader = _Loader(name, spec.origin)
            else:
                _note(spec.origin)
        return spec


def watch() -> None:
    """Note from now on what is imported of the project, and what has been so far."""
    if _Finder not in sys.meta_path:
        for file in sorted(_imported()):
            if file.startswith(OWN):
                _note(file)
        # Just before Python's own: those of pytest, and of editable installations, come first as they would.
        place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(place, _Finder)


def taken() -> dict[Path, bytes]:
    """Give the content of every file of the project that is imported, and of what lies elsewhere, as it was then."""
    here = _imported()
    for file in sorted(here - _seen.keys()):
        if file.startswith(OWN):  # another import system brought it
            _note(file)
    return {Path(file): content for file, content in _seen.items() if file in here}


def _imported() -> set[str]:
    """Name the files that are imported, but for those of Python and of packages."""
    found = set()
    for name in [name for name in list(sys.modules) if name not in _foreign]:
        file = file_of(sys.modules.get(name))
        if file and _is_own(file):
            found.add(file)
        elif file:
            _foreign.add(name)
    return found


def file_of(module: object) -> str:
    """Name the file of what stands in `sys.modules`; "" without one."""
    try:
        # Not `getattr`: it would import every module that MLflow only imports when it is used.
        file = vars(module).get("__file__")
    except TypeError:  # None, which forbids an import, or an object of somebody's
        return ""
    return file if isinstance(file, str) else ""


def _is_own(file: str) -> bool:
    """Tell whether a file is neither Python's nor a package's."""
    if file.startswith(OWN):
        return not file.startswith(OWN_INSTALLED)
    return not file.startswith(INSTALLED) and "debugpy" not in file and "pydevd" not in file


def _note(file: str) -> None:
    with contextlib.suppress(OSError):
        _seen[file] = Path(file).read_bytes()
