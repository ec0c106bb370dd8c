"""Names of modules that stand in texts, where no import would fail: each is a module of the harness."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

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
#: The last two name modules that are nowhere.
NO_TEXTS = (".csv", ".png", ".zip", "test_names.py", "test_moved.py")
#: What git knows: what a run leaves in these folders (bytecode) is written by the other test processes meanwhile.
FOLDERS = ("tests", "scripts", "bin", "copier_mlflow", "template", "docs")
FILES = ("README.md", "CONTRIBUTING.md", "justfile", "copier.yml")
TRACKED = subprocess.run(
    ["git", "ls-files", "-z", *FOLDERS, *FILES], cwd=TEMPLATE, capture_output=True, text=True, check=True
)
TEXTS = [name for name in TRACKED.stdout.split("\0") if name and HARNESS not in name]


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


@pytest.mark.parametrize("name", [name for name in TEXTS if not name.endswith(NO_TEXTS)])
def test_what_a_text_takes_for_a_module_is_one(name: str) -> None:
    assert [*unknown((TEMPLATE / name).read_text("utf-8"))] == []


def test_a_module_that_moved_is_noticed() -> None:
    gone = "from bikes.reproducibility.cli import command_line\nbikes.reproducibility.command.line\nload('record.red')"
    assert [*unknown(gone)] == ["cli.command_line", "command.line", "record.red"]
    assert [*unknown("from bikes.reproducibility.selftest import plan, show\nload('record.reader')")] == []
