"""Names of modules that stand in texts, where no import would fail: each is a module of the harness."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FRAMEWORKS, TEMPLATE
from test_rooms import HARNESS, modules

#: As imports name one, and as `scripts/harness.py` does.
DOTTED = re.compile(r"reproducibility\.((?:\w+\.)*\w+)(?: import ([\w, ]+))?")
LOADED = re.compile(r"""\bload\(\s*f?["']([\w.]+)["']\)""")
KNOWN: dict[str, str] = {}
for name, module in (pair for framework in FRAMEWORKS for pair in modules(framework).items()):
    name = name.removesuffix(".__init__")
    KNOWN[name] = KNOWN.get(name, "") + module.read_text("utf-8")
#: Whose texts name modules that are nowhere.
PLANTED = ("test_names.py", "test_moved.py")
TEXTS = [
    *(path for folder in ("tests", "scripts", "bin", "copier_mlflow") for path in (TEMPLATE / folder).rglob("*")),
    *(TEMPLATE / name for name in ("README.md", "CONTRIBUTING.md", "justfile", "copier.yml")),
    *(path for path in (TEMPLATE / "template").rglob("*") if HARNESS not in path.as_posix()),
]


def is_there(name: str) -> bool:
    """Tell whether a name is that of a module, or of something in one."""
    module, _, inner = name.rpartition(".")
    while module and module not in KNOWN:
        module, _, inner = module.rpartition(".")
    return name in KNOWN or bool(module and re.search(rf"\b{inner}\b", KNOWN[module]))


def unknown(text: str) -> Iterator[str]:
    """Name what a text takes for modules, and is none."""
    for module, inner in DOTTED.findall(text):
        names = [f"{module}.{one.split()[0]}" for one in inner.split(",") if one.split()] or [module]
        yield from (name for name in names if not is_there(name))
    yield from (name for name in LOADED.findall(text) if not is_there(name))


@pytest.mark.parametrize("path", [path for path in TEXTS if path.is_file()], ids=lambda path: path.name)
def test_what_a_text_takes_for_a_module_is_one(path: Path) -> None:
    if path.suffix not in (".csv", ".pyc", ".png") and path.name not in PLANTED:
        assert [*unknown(path.read_text("utf-8", "replace"))] == []


def test_a_module_that_moved_is_noticed() -> None:
    gone = "from bikes.reproducibility.cli import command_line\nbikes.reproducibility.command.line\nload('record.red')"
    assert [*unknown(gone)] == ["cli.command_line", "command.line", "record.red"]
    assert [*unknown("from bikes.reproducibility.selftest import plan, show\nload('record.reader')")] == []
