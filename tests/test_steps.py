"""Projects of several steps: each proven, skipped while its proof holds, and executed again back to the raw data."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, clone, refused

import harness

ProjectError = harness.load("common.errors").ProjectError
inputs = harness.load("record.inputs")
order = harness.load("pipeline.order")
steps = harness.load("training.steps")

MAIN = '''\
"""Hands the steps to the harness; each imports its own code only when it runs."""

from .reproducibility import Experiment, Train, main


def training() -> tuple[type, Train]:
    from .settings import Settings
    from .train import train

    return Settings, train


def preparing() -> tuple[type, Train]:
    from .prepare import PrepareSettings, prepare

    return PrepareSettings, prepare


def evaluating() -> tuple[type, Train]:
    from .evaluate import EvaluateSettings, evaluate

    return EvaluateSettings, evaluate


def experiment() -> Experiment:
    return Experiment(steps={"evaluate": evaluating, "prepare": preparing, "train": training})


if __name__ == "__main__":
    main(experiment)
'''
PREPARE = '''\
"""The first step: a table of fewer columns."""

from pydantic import BaseModel

from .reproducibility import Result, Run


class PrepareSettings(BaseModel):
    seed: int
    threads: int
    rows: int


def prepare(settings: PrepareSettings, run: Run) -> Result:
    table = run.dataset("breast_cancer").sample(settings.rows, random_state=run.seed).reset_index(drop=True)
    table.to_parquet(run.folder / "features.parquet")
    (run.folder / "notes").mkdir()
    (run.folder / "notes" / "rows.txt").write_text(f"{len(table)}\\n")
    made = {name: run.folder / name for name in ("features.parquet", "notes")}
    return Result(None, None, None, {"rows": len(table)}, outputs=made)
'''
EVALUATE = '''\
"""The last step: the model of the training, on the rows of the first."""

import mlflow.sklearn
import pandas as pd
from pydantic import BaseModel

from .reproducibility import Result, Run


class EvaluateSettings(BaseModel):
    seed: int
    threads: int


def evaluate(settings: EvaluateSettings, run: Run) -> Result:
    model = mlflow.sklearn.load_model(str(run.input("model")))
    table = pd.read_parquet(run.input("features"))
    accuracy = (model.predict(table.drop(columns="diagnosis").astype(float)) == table["diagnosis"]).mean()
    report = run.folder / "report.txt"
    report.write_text(f"{accuracy}\\n{run.input('rows').read_text()}")
    return Result(None, None, None, {"accuracy_of_all": float(accuracy)}, outputs={"report.txt": report})
'''
CONFS = {
    "prepare": "seed: 1\nthreads: 1\nrows: 400\n",
    "evaluate": (
        "seed: 1\nthreads: 1\ninputs:\n  features: step:prepare/features.parquet\n"
        "  rows: step:prepare/notes/rows.txt\n  model: step:train/model\n"
    ),
}


def into_steps(project: Project) -> Project:
    """Make several steps of a project of one."""
    package, confs = project.path / "bikes", project.path / "confs"
    (package / "__main__.py").write_text(MAIN)
    (package / "prepare.py").write_text(PREPARE)
    (package / "evaluate.py").write_text(EVALUATE)
    train = package / "train.py"
    read = 'pd.read_parquet(run.input("features"))'
    text = train.read_text().replace("run.dataset(settings.dataset)", read)
    train.write_text(text.replace("\nfrom sklearn", "\nimport pandas as pd\nfrom sklearn", 1))
    for name, text in CONFS.items():
        (confs / f"{name}.yaml").write_text(text)
    conf = confs / "train.yaml"
    conf.write_text(conf.read_text() + "\ninputs:\n  features: step:prepare/features.parquet\n")
    project.commit()
    return project


@pytest.fixture
def pipeline(project: Project) -> Project:
    """A committed project of three steps, and an environment for it."""
    return into_steps(project)


def of_step(project: Project, step: str) -> list[Any]:
    """All runs of a step, the newest first."""
    return [run for run in project.runs() if run.data.tags.get("repro.step") == step]


def record(project: Project, run: Any) -> dict[str, Any]:
    [file] = project.path.glob(f"mlruns/{run.info.run_id}/artifacts/record/record.json")
    content: dict[str, Any] = json.loads(file.read_text())
    return content


@pytest.mark.e2e
def test_pipeline_is_done_skipped_traced_and_proven_from_the_raw_data(pipeline: Project) -> None:
    done = pipeline.just("pipeline").stdout
    assert re.findall(r"(?m)^(\w+) +is done: run", done) == ["prepare", "train", "evaluate"]
    [prepare], [train], [evaluate] = (of_step(pipeline, name) for name in ("prepare", "train", "evaluate"))
    [parent] = [run for run in pipeline.runs() if run.info.run_name == "pipeline"]
    assert {run.data.tags["mlflow.parentRunId"] for run in (prepare, train, evaluate)} == {parent.info.run_id}
    assert json.loads(parent.data.tags["repro.standing"])["train"] == train.info.run_id
    assert {run.info.status for run in pipeline.runs()} == {"FINISHED"}
    given = record(pipeline, evaluate)["inputs"]
    assert given["features"]["uri"] == f"runs:/{prepare.info.run_id}/outputs/features.parquet"
    assert given["model"]["run"] == train.info.run_id and given["model"]["uri"].startswith("models:/m-")
    assert given["features"]["digest"] == record(pipeline, prepare)["stages"]["output features.parquet"]

    again = pipeline.just("pipeline").stdout
    assert re.findall(r"(?m)^(\w+) +holds: run", again) == ["prepare", "train", "evaluate"]
    assert len(pipeline.runs()) == 4

    told = pipeline.just("lineage", "last").stdout
    assert all(run.info.run_id in told for run in (prepare, train, evaluate)) and "data breast_cancer" in told
    assert (pipeline.path / f"mlruns/{evaluate.info.run_id}/artifacts/lineage.png").exists()

    alone = pipeline.just("reproduce", evaluate.info.run_id).stdout
    assert "identical: every stage is equal" in alone
    chain = pipeline.just("reproduce", "last", "--chain").stdout
    assert re.findall(r"(?m)^(\w+) +run \w+ +(\w+)$", chain) == [
        ("prepare", "identical"),
        ("train", "identical"),
        ("evaluate", "identical"),
    ]
    assert of_step(pipeline, "prepare")[1].data.tags["repro.verdict"] == "identical"
