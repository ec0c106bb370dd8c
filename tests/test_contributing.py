"""CONTRIBUTING.md: its map is that of the imports, its places are there, and a framework is made from it alone."""

from __future__ import annotations

import graphlib
import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import FRAMEWORKS, TEMPLATE, Project, copy_project
from pages import changes
from test_render import copy_template
from test_rooms import ROOMS, imports, modules

PAGE = (TEMPLATE / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLE, OWN = TEMPLATE / "docs" / "framework", "template/{{ '.' if framework == 'numpy' }}"


def part(title: str) -> str:
    """Give a part of the page."""
    return re.split(r"(?m)^## ", PAGE.split(f"\n## {title}\n")[1])[0]


def places(title: str) -> list[str]:
    """Give the places that a part of the page lists."""
    found = re.findall(r"(?m)^\| `(.+?)` \|", part(title))
    assert len(found) == part(title).count("\n| ") - 1
    return [re.sub(r"^OWN(?=/)", OWN, place) for place in found]


# --- The map ------------------------------------------------------------------
def test_the_map_is_that_of_the_imports() -> None:
    uses: dict[str, set[str]] = {room: set() for room in ROOMS}
    for framework in FRAMEWORKS:
        known = modules(framework)
        for name, path in known.items():
            room = name.split(".")[0]
            uses[room] |= {used.split(".")[0] for used in imports(name, path, known)} - {room}
    below: dict[str, set[str]] = {}
    for room in graphlib.TopologicalSorter(uses).static_order():
        below[room] = uses[room].union(*(below[used] for used in uses[room]))
    arrows = [
        f"    {room} --> {used}"
        for room in ROOMS
        for used in ROOMS
        if used in uses[room] and not any(used in below[other] for other in uses[room])
    ]
    drawn = re.search(r"(?s)```mermaid\ngraph TD\n(.*?)\n```", PAGE)
    assert drawn and drawn[1].splitlines() == arrows, "it should be:\n" + "\n".join(arrows)


# --- The places ---------------------------------------------------------------
@pytest.mark.parametrize("title", ["Add a question", "Add a stage", "Add a check to doctor"])
def test_every_place_has_what_the_page_speaks_of(title: str) -> None:
    for line in re.findall(r"(?m)^\| `.*\|$", part(title)):
        place, *names = re.findall(r"`([\w./{} -]+)`", line)
        text = (TEMPLATE / place).read_text("utf-8")
        for name in (name for name in names if name.replace("_", "").replace(".", "").isalpha()):
            assert all(re.search(rf"\b{word}\b", text) for word in name.split(".")), f"{name} is not in {place}"


# --- A sixth framework --------------------------------------------------------
@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template, without git."""
    folder = tmp_path_factory.mktemp("template")
    copy_template(folder)
    return folder


def add(template: Path, place: str) -> None:
    """Do what the page says of one place."""
    file = template / place
    if not place.startswith(OWN):
        [hunks] = re.findall(rf"(?ms)^\+\+\+ {re.escape(place)}\n(.*?)(?=^\+\+\+|```)", part("Add a framework"))
        text = file.read_text("utf-8")
        for old, new in changes(hunks):
            assert old in text, f"{place} has no {old!r}"
            text = text.replace(old, new)
        file.write_text(text, "utf-8")
        return
    name = place.removeprefix(OWN + "/")
    source = EXAMPLE / name
    if name.startswith("constraints"):
        source = template / OWN.replace("numpy", "scikit-learn") / name
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, file)


def require(template: Path, folder: Path) -> None:
    """Hold a template to a framework `numpy` that is whole: for both tasks, without running anything."""
    own = template / OWN
    for framework in ("xgboost", "lightgbm"):  # what each of them has, a framework must have
        other = template / OWN.replace("numpy", framework)
        needed = [path.relative_to(other) for path in other.rglob("*") if path.is_file()]
        assert [path for path in needed if not (own / path).exists()] == []
    for task in ("classification", "regression"):
        project = copy_project(folder / task, source=template, framework="numpy", task=task, package_name="bikes")
        asked = (project / "pyproject.toml").read_text("utf-8")
        locked = (project / "constraints.txt").read_text("utf-8")
        names = re.findall(r'(?m)^    "([\w-]+)[>=]', asked.split("[dependency-groups]")[0])
        assert [name for name in names if not re.search(rf"(?m)^{name}==", locked)] == []
        conf = yaml.safe_load((project / "confs/train.yaml").read_text("utf-8"))
        fields = re.findall(r"(?m)^    (\w+):", (project / "bikes/settings.py").read_text("utf-8"))
        assert {*conf, *conf["model"]} == {*fields}
        for name in ("README.md", "confs/train.yaml", "tests/test_train.py"):
            tried = re.findall(r"\bmodel\.(\w+)=", (project / name).read_text("utf-8"))
            assert tried and set(tried) <= conf["model"].keys(), name


FRAMEWORK = places("Add a framework")


def test_a_sixth_framework_is_made_from_the_page_alone(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path / "template")
    for place in FRAMEWORK:
        add(tmp_path / "template", place)
    require(tmp_path / "template", tmp_path)
    added = {path.relative_to(EXAMPLE).as_posix() for path in EXAMPLE.rglob("*") if path.is_file()}
    assert added <= {place.removeprefix(OWN + "/") for place in FRAMEWORK}, "the example has more than the page lists"


@pytest.mark.parametrize("left_out", FRAMEWORK)
def test_every_place_of_a_framework_is_needed(left_out: str, template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path / "template")
    for place in FRAMEWORK:
        if place != left_out:
            add(tmp_path / "template", place)
    with pytest.raises((AssertionError, ValueError)):
        require(tmp_path / "template", tmp_path)


@pytest.mark.e2e
@pytest.mark.slow
def test_the_sixth_framework_trains_and_reproduces(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path / "template")
    for place in FRAMEWORK:
        add(tmp_path / "template", place)
    project = Project(copy_project(tmp_path / "bikes", source=tmp_path / "template", framework="numpy"))
    project.git("init", "--quiet")
    project.just("setup")
    project.commit()
    project.just("check")
    project.just("test")
    project.just("train")
    [run] = project.runs()
    assert run.data.metrics["accuracy"] > 0.9 and run.data.tags.get("repro.model")
    assert "identical" in project.just("reproduce", "last").stdout
    assert "repeats" in project.just("selftest", "--minutes", "0.5").stdout
