"""A fix that is a command can be typed as it stands, whatever a file or folder is called."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conftest import TEMPLATE

COMMAND = re.compile(r"(^|\n|[:;`] ?|      )(just|git|mv|rm|mkdir|ls|df|cp|cd|uv|python) [^\n]*$")
NAMES = re.compile(r"\b(path|paths|file|folder|prefix|parent|target|changed|name|executable)\b")


def fixes(module: Path) -> list[ast.JoinedStr]:
    """All texts with values in them that are the second argument of a `ProjectError`."""
    found = []
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Call) and "ProjectError" in ast.dump(node.func) and len(node.args) > 1:
            found += [part for part in ast.walk(node.args[1]) if isinstance(part, ast.JoinedStr)]
    return found


HARNESS = sorted(path for path in (TEMPLATE / "template").rglob("*.py") if "reproducibility" in path.parts)
MODULES = [*HARNESS, *sorted((TEMPLATE / "copier_mlflow").glob("*.py"))]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_what_stands_in_a_command_is_quoted(module: Path) -> None:
    for fix in fixes(module):
        before = ""
        for part in fix.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
                continue
            assert isinstance(part, ast.FormattedValue)
            text = ast.unparse(part.value)
            is_safe = "shlex." in text or re.fullmatch(r"\w*lock\.name|[A-Z_]+\.name|_folder\(path\)", text)
            if COMMAND.search(before) and NAMES.search(text):
                assert is_safe, f"{module.name}, line {part.lineno}: {text}"
            before += "X"
