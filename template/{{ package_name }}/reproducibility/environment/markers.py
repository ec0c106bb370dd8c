"""Which environment markers of a lock hold: PEP 508 as uv writes it. Standard library only."""

from __future__ import annotations

import ast
import operator
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda part, whole: part in whole,
    ast.NotIn: lambda part, whole: part not in whole,
}
VERSIONS = {"python_version", "python_full_version", "implementation_version"}


def here() -> dict[str, str]:
    """Give the variables of markers for this interpreter and machine."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def holds(marker: str, variables: Mapping[str, str] | None = None) -> bool:
    """Tell whether a marker holds.

    Parameters
    ----------
    marker : str
        Such as "sys_platform == 'win32' and python_full_version < '3.13'"; "" always holds.
    variables : mapping of str to str, optional
        As `here` gives them, which is the default.
    """
    known = here() if variables is None else variables
    # A marker is also an expression of Python's.
    return not marker or _holds(ast.parse(marker, mode="eval").body, known)


def _holds(node: ast.expr, variables: Mapping[str, str]) -> bool:
    if isinstance(node, ast.BoolOp):
        every = all if isinstance(node.op, ast.And) else any
        return every(_holds(value, variables) for value in node.values)
    if not isinstance(node, ast.Compare):
        raise ValueError(f"not a marker: {ast.unparse(node)}")
    sides = (node.left, node.comparators[0])
    values: list[Any] = [variables[side.id] if isinstance(side, ast.Name) else ast.literal_eval(side) for side in sides]
    contains = isinstance(node.ops[0], (ast.In, ast.NotIn))
    if not contains and any(isinstance(side, ast.Name) and side.id in VERSIONS for side in sides):
        values = [_version(value) for value in values]
        if values[-1][-1:] == ["*"]:
            values = [values[0][: len(values[1]) - 1], values[1][:-1]]
    return COMPARISONS[type(node.ops[0])](*values)


def _version(text: str) -> list[Any]:
    """Turn a version into what compares as versions do; zeros at its end do not count."""
    parts: list[Any] = [int(part) if part.isdigit() else part for part in re.findall(r"\d+|\*", text)]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts
