"""What editors are given: schemas by which confs are checked while one types, and entries that do what they say."""

from __future__ import annotations

import copy
import importlib
import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import FRAMEWORKS, Project, clone, copy_project, importing

from harness import load

editor, definition, cluster = load("training.editor"), load("sweeps.definition"), load("engines.cluster")


def problems(schema: Any, content: Any) -> list[str]:
    jsonschema.Draft202012Validator.check_schema(schema)
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(content)]


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, model: Any) -> Any:
    """What an editor finds of a class."""
    monkeypatch.setattr(editor, "FOLDER", folder / ".schema")
    editor.describe(name, model)
    return json.loads((folder / ".schema" / f"{name}.json").read_text("utf-8"))


def leaves(schema: dict[str, Any]) -> dict[str, Any]:
    """Every setting of a schema, by its name."""
    parts = [schema, *schema.get("$defs", {}).values()]
    return dict(itertools.chain.from_iterable(part.get("properties", {}).items() for part in parts))


#: Of images, networks learn.
PAIRS = [
    *itertools.product(("classification", "regression"), FRAMEWORKS),
    ("images", "pytorch"),
    ("images", "tensorflow"),
]


@pytest.mark.parametrize(("task", "framework"), PAIRS)
def test_a_new_conf_fits_its_schema_and_a_slip_does_not(task: str, framework: str, tmp_path: Path) -> None:
    with importing(tmp_path / "edited", "edited", task=task, framework=framework):
        settings = importlib.import_module("edited.settings").Settings
        schema = editor.of_step(settings)
    file = tmp_path / "edited" / "confs" / "train.yaml"
    conf = yaml.safe_load(file.read_text("utf-8"))
    assert problems(schema, conf) == []
    assert problems(schema, conf | {"inputs": {"clean": "step:prepare/clean.parquet"}}) == []
    for change in ({"sede": 1}, {"threads": "many"}, {"seed": -1}, {"model": {**conf["model"], "dept": 3}}):
        assert problems(schema, conf | change), change
    untold = [name for name, about in leaves(schema).items() if "description" not in about and "$ref" not in about]
    assert untold == [], "an editor shows what each is"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_new_sweep_fits_its_schema_and_a_slip_does_not(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_project(tmp_path / "bikes", framework=framework)
    schema = written(tmp_path, monkeypatch, "sweep", definition.Sweep)
    sweep = yaml.safe_load((project / "confs" / "sweep.yaml").read_text("utf-8"))
    assert problems(schema, sweep) == [] and problems(schema, yaml.safe_load(definition.EXAMPLE)) == []
    for path, value in (("sampler", "tep"), ("trails", 3), ("batch", 0), ("space", {"model.x": {"tpye": "int"}})):
        assert problems(schema, copy.deepcopy(sweep) | {path: value}), path
    slurm = written(tmp_path, monkeypatch, "cluster", cluster.Slurm)
    assert problems(slurm, yaml.safe_load(cluster.EXAMPLE)) == []
    for other, content in ((schema, sweep), (slurm, yaml.safe_load(cluster.EXAMPLE))):
        assert problems(other, content | {"inputs": {}}), "a step has inputs, and nothing else"


def test_a_schema_that_cannot_be_written_ends_no_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(editor, "FOLDER", tmp_path / "nowhere" / ".schema")
    editor.describe("sweep", definition.Sweep)
    monkeypatch.setattr(editor, "FOLDER", tmp_path / ".schema")
    editor.describe("sweep", definition.Sweep)
    written = tmp_path / ".schema" / "sweep.json"
    before = written.stat().st_mtime_ns
    editor.describe("sweep", definition.Sweep)
    assert written.stat().st_mtime_ns == before and json.loads(written.read_text("utf-8"))["properties"]


@pytest.mark.e2e
@pytest.mark.slow
def test_what_an_editor_is_given_is_true(set_up: Any, tmp_path: Path) -> None:
    project: Project = clone(set_up("classification"), tmp_path / "bikes")
    launches = json.loads((project.path / ".vscode" / "launch.json").read_text("utf-8"))["configurations"]
    file = {"${file}": "tests/test_train.py", "${workspaceFolder}": str(project.path)}
    for entry in launches:
        arguments = [file.get(argument, argument) for argument in entry["args"]]
        more = ["--collect-only", "-q"] if entry["module"] == "pytest" else []
        project.run(".venv/bin/python", "-m", entry["module"], *arguments, *more)
    for task in json.loads((project.path / ".vscode" / "tasks.json").read_text("utf-8"))["tasks"]:
        project.run(task["command"], "--dry-run", *task["args"])
    # The first line of the conf leads to a schema that the training wrote, and git does not see.
    conf = project.path / "confs" / "train.yaml"
    [path] = re.findall(r"\A# yaml-language-server: \$schema=(\S+)\n", conf.read_text("utf-8"))
    schema = json.loads((conf.parent / path).read_text("utf-8"))
    assert problems(schema, yaml.safe_load(conf.read_text("utf-8"))) == []
    # It follows settings.py.
    settings = project.path / "bikes" / "settings.py"
    settings.write_text(settings.read_text("utf-8") + '    note: str = Field("", description="Mine.")\n', "utf-8")
    project.just("train")
    assert "note" in json.loads((conf.parent / path).read_text("utf-8"))["properties"]
    done: subprocess.CompletedProcess[str] = project.run("git", "status", "--short")
    assert done.stdout.split() == ["M", "bikes/settings.py"]
