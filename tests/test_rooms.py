"""The harness as rooms: each imports from those below it alone, and no module from one that needs it."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FRAMEWORKS, TEMPLATE

#: From the command line down to what all stand on. A module at the top is a room of its own.
ROOMS = (
    *("locks", "__init__", "cli", "selftest", "serving", "sweeps", "pipeline", "engines", "proof", "execute"),
    "training",
    *(
        "record",
        "datasets",
        "tracking_server",
        "store",
        "containers",
        "randomness",
        "framework",
        "distributed",
        "modeling",
    ),
    *("adapter", "environment", "conf", "source", "common", "template_tool"),
)
HARNESS = "{{ package_name }}/reproducibility"


def modules(framework: str) -> dict[str, Path]:
    """Find the modules of a project of that framework, by their names below `reproducibility`."""
    folders = [TEMPLATE / "template" / HARNESS]
    folders += [folder / HARNESS for folder in (TEMPLATE / "template").glob(f"*'{framework}'*")]
    folders = [folder for folder in folders if folder.exists()]
    found = {
        ".".join(path.relative_to(folder).with_suffix("").parts): path
        for folder in folders
        for path in folder.rglob("*.py")
    }
    assert {"framework", "selftest.workload"} <= found.keys()
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Name what a module imports of the harness, wherever in it: in functions and for its types too."""
    package = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = [*package[: len(package) + 1 - node.level], *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                module = ".".join([*home, alias.name])
                yield module if module in known else ".".join(home) or "__init__"


@pytest.fixture(params=FRAMEWORKS)
def arrows(request: pytest.FixtureRequest) -> dict[str, set[str]]:
    known = modules(request.param)
    return {name: set(imports(name, path, known)) - {name} for name, path in known.items()}


def test_a_room_imports_only_from_the_rooms_below_it(arrows: dict[str, set[str]]) -> None:
    height = {room: number for number, room in enumerate(ROOMS)}
    rooms = {name: {used.split(".")[0] for used in uses} for name, uses in arrows.items()}
    upwards = [
        f"{name} -> {room}"
        for name, used in rooms.items()
        for room in used
        if height[room] < height[name.split(".")[0]]
    ]
    assert upwards == []


def test_no_module_is_needed_by_one_that_it_needs(arrows: dict[str, set[str]]) -> None:
    list(graphlib.TopologicalSorter(arrows).static_order())


def test_what_is_told_of_rooms_is_what_is_there() -> None:
    """Every room says in one line what it is for."""
    there = {name.split(".")[0] for framework in FRAMEWORKS for name in modules(framework)}
    assert there == set(ROOMS)
    for room in (
        path for path in (TEMPLATE / "template" / HARNESS).iterdir() if path.is_dir() and path.name != "__pycache__"
    ):
        assert ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))), room.name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_a_module_takes_of_another_is_there(framework: str) -> None:
    """In functions too, where nothing but the command that calls them would find it."""
    known = {name.removesuffix(".__init__"): path for name, path in modules(framework).items()}
    bodies = {name: ast.parse(path.read_text("utf-8")) for name, path in known.items()}
    there = {name: set(defined(body.body)) for name, body in bodies.items()}
    missing = []
    for name, body in bodies.items():
        package = name.split(".") if known[name].stem == "__init__" else name.split(".")[:-1]
        package = [] if name == "__init__" else package
        called: dict[str, str] = {}
        for node in (node for node in ast.walk(body) if isinstance(node, ast.ImportFrom) and node.level):
            home = [*package[: len(package) + 1 - node.level], *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                if (module := ".".join([*home, alias.name])) in known:
                    called[alias.asname or alias.name] = module
                elif alias.name not in there[".".join(home) or "__init__"]:
                    missing.append(f"{name} imports {module}")
        missing += [
            f"{name} asks for {called[node.value.id]}.{node.attr}"
            for node in ast.walk(body)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called
            if node.attr not in there[called[node.value.id]] | {"__name__", "__file__"}
        ]
    assert missing == []


def defined(body: list[ast.stmt]) -> Iterator[str]:
    """Give the names that a module has at its top."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.If | ast.Try):
            yield from defined([*node.body, *node.orelse])
        else:
            yield from (
                one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            )
