"""Code of the project that a model is made of: it is kept by its commit, not beside the model."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..common.project import PACKAGE, ROOT
from .imports import OWN, file_of

HARNESS = f"{PACKAGE}/reproducibility/"


def needed(names: Iterable[str], imported: Mapping[str, str]) -> dict[str, str]:
    """Find the project's modules that define classes and functions, and those that they use in turn.

    Parameters
    ----------
    names : iterable of str
        "module.name" of each class and function.
    imported : Mapping of str to str
        Path and digest of every file of the project that was imported.

    Returns
    -------
    dict of str to str
        Path and digest of each module; those of the harness are not among them.
    """
    own = {}
    for name, module in list(sys.modules.items()):
        path = _path(module)
        if path in imported and not path.startswith(HARNESS):
            own[name] = path
    pending = {_module(name, own) for name in names} & own.keys()
    found: set[str] = set()
    while pending:
        found |= pending
        pending = {used for name in pending for used in _imports(name, ROOT / own[name]) if used in own} - found
    return {own[name]: imported[own[name]] for name in sorted(found)}


def is_own(name: str) -> bool:
    """Tell whether "module.name" is of the project's package, but not of the harness, which no model has a use for."""
    return name.startswith(f"{PACKAGE}.") and not name.startswith(f"{PACKAGE}.reproducibility.")


def changed(modules: Mapping[str, str]) -> list[str]:
    """Name the modules that the project has not as they were."""
    from ..common import digest  # not at the top: the doctor reads this module with whatever Python there is

    return [path for path, content in modules.items() if not digest.fits(ROOT / path, content)]


def _path(module: object) -> str:
    file = file_of(module)
    return Path(file).relative_to(ROOT).as_posix() if file.startswith(OWN) else ""


def _module(name: str, own: Mapping[str, str]) -> str:
    """Give the module of "module.name", also of a class in a class."""
    while name and name not in own:
        name = name.rpartition(".")[0]
    return name


def _imports(module: str, file: Path) -> Iterator[str]:
    """Name what a module imports, wherever in it: a constant tells nobody where it came from."""
    is_package = file.name == "__init__.py"
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level + is_package or None] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            yield home
            yield from (f"{home}.{alias.name}" for alias in node.names)
