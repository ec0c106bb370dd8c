"""Pipelines as they are used: beside another, killed, from a registered model, without the data, with a cause to find.

Each is made of the small steps of `test_steps`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, refused
from test_interrupts import members, started, wait_for
from test_steps import NEEDS, began, edit, of_step, pipeline, record, small, verdicts

import harness

__all__ = ["pipeline", "small"]  # fixtures
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]
digest, outputs = harness.load("common.digest"), harness.load("record.outputs")


def assert_whole(project: Project, run: Any) -> None:
    """Every file of a finished run of a step is what its record says."""
    folder = project.path / f"mlruns/{run.info.run_id}/artifacts"
    assert run.info.status == "FINISHED" and run.info.end_time
    assert digest.of_file(folder / "record/record.json") == run.data.tags["repro.record"]
    content = record(project, run)
    for name, known in content["files"].items():
        assert digest.fits(folder / "record" / name, known), name
    for path, known in outputs.files(content["outputs"]).items():
        assert digest.fits(folder / "outputs" / path, known), path


def test_two_pipelines_at_once_are_both_whole(small: Project) -> None:
    with started(small, "just", "pipeline") as one, started(small, "just", "pipeline") as other:
        for process in (one, other):
            output = process.communicate(timeout=600)[0]
            assert process.returncode == 0, output
            assert "Traceback" not in output
    for name in NEEDS:
        runs = of_step(small, name)
        assert 1 <= len(runs) <= 2
        for run in runs:
            assert_whole(small, run)
        assert len({run.data.tags["repro.result"] for run in runs}) == 1
    assert {run.info.status for run in small.runs()} == {"FINISHED"}
    assert began(small.just("pipeline").stdout) == {}
    listed = re.findall(r"(?m)^[0-9a-f]{8}  .* (\w+) +\d{4}-\d\d-\d\d ", small.just("runs").stdout)
    assert {*listed} == {*NEEDS, "pipeline"} and len(listed) == len(small.runs())


def killed(process: subprocess.Popen[str], how: str, command: str) -> None:
    """Kill a command by SIGKILL: alone, or with all that it started."""
    for member in members(process.pid):
        if how == "all" or command in Path(f"/proc/{member}/cmdline").read_bytes().decode().split("\0"):
            os.kill(member, signal.SIGKILL)
    wait_for(lambda: not members(process.pid), "no process is left", 30)


@pytest.mark.parametrize("how", ["alone", "all"])
def test_a_killed_pipeline_leaves_no_process_and_goes_on(small: Project, tmp_path: Path, how: str) -> None:
    ready = tmp_path / "ready"
    with started(small, "just", "pipeline", WAIT="right", READY=str(ready)) as process:
        wait_for(lambda: process.poll() is not None or ready.exists(), "the step has begun", 300)
        assert process.poll() is None, process.communicate()[0]
        killed(process, how, "pipeline")
    statuses = {run.data.tags.get("repro.step", "pipeline"): run.info.status for run in small.runs()}
    # A step whose pipeline is gone ends its run itself.
    assert statuses["right"] == ("KILLED" if how == "alone" else "RUNNING")
    assert statuses["pipeline"] == "RUNNING" and statuses["first"] == "FINISHED"
    open_ones = {run.info.run_id for run in small.runs() if run.info.status == "RUNNING"}
    told = small.just("doctor").stdout
    assert {*re.findall(r"([0-9a-f]{32}) KILLED", told)} == open_ones
    assert all(f"confs/{name}.yaml" in told for name in NEEDS)
    assert not [run for run in small.runs() if run.info.status == "RUNNING"]
    done = began(small.just("pipeline").stdout)
    assert "first" not in done and {"right", "last"} <= done.keys()
    for name in NEEDS:
        assert_whole(small, of_step(small, name)[0])


@pytest.mark.parametrize("how", ["alone", "all"])
def test_a_killed_chain_leaves_no_process_and_is_done_again(small: Project, tmp_path: Path, how: str) -> None:
    small.just("pipeline")
    ready, scratch = tmp_path / "ready", tmp_path / "scratch"
    scratch.mkdir()
    place = {"TMPDIR": str(scratch)}
    with started(small, "just", "reproduce", "last", "--chain", WAIT="right", READY=str(ready), **place) as process:
        wait_for(lambda: process.poll() is not None or ready.exists(), "the replay has begun", 300)
        assert process.poll() is None, process.communicate()[0]
        killed(process, how, "reproduce")
    assert [*scratch.glob("*-replay-*")]
    assert {run.info.status for run in small.runs()} == {"FINISHED"}
    assert re.search(r"removed \S+-replay-\S+, left by a process that was killed", small.just("doctor", **place).stdout)
    chain = small.just("reproduce", "last", "--chain", **place).stdout
    assert verdicts(chain) == dict.fromkeys(NEEDS, "identical")
    assert {run.info.status for run in small.runs()} == {"FINISHED"}
    assert [*scratch.iterdir()] == []


def test_a_registered_model_is_resolved_for_good(pipeline: Project) -> None:
    edit(pipeline.path / "confs/evaluate.yaml", "step:train/model", "models:/bikes@champion")
    message = refused(pipeline.just("pipeline", check=False))
    assert "the input 'model', models:/bikes@champion" in message and "just promote" in message
    [first] = of_step(pipeline, "train")
    pipeline.just("promote", first.info.run_id, "--force")
    assert began(pipeline.just("pipeline").stdout).keys() == {"evaluate"}
    [evaluated] = of_step(pipeline, "evaluate")
    given = record(pipeline, evaluated)["inputs"]["model"]
    assert given["version"] == "1" and given["uri"].startswith("models:/m-") and given["run"] == first.info.run_id
    assert "models:/bikes@champion  version 1" in pipeline.just("lineage", evaluated.info.run_id).stdout

    pipeline.just("train", "--set", "model.max_depth=1")
    newest = of_step(pipeline, "train")[0]
    pipeline.just("promote", newest.info.run_id, "--force")
    assert "identical: every stage is equal" in pipeline.just("reproduce", evaluated.info.run_id).stdout
    done = began(pipeline.just("pipeline").stdout)
    assert done.keys() == {"evaluate"} and done["evaluate"].endswith("the input model is another")
    given = record(pipeline, of_step(pipeline, "evaluate")[0])["inputs"]["model"]
    assert given["version"] == "2" and given["run"] == newest.info.run_id
    # Back to the first: its run stands again.
    pipeline.just("promote", first.info.run_id, "--force")
    assert began(pipeline.just("pipeline").stdout) == {}


def test_a_changed_input_is_proven_as_the_cause(small: Project) -> None:
    small.just("pipeline")
    edit(small.path / "confs/left.yaml", "word: left", "word: links")
    edit(small.path / "bikes/last.py", "import os\n", "import os  # edited, without effect\n")
    small.just("pipeline")
    newer, older = (run.info.run_id for run in of_step(small, "last"))
    shown = small.just("compare", older, newer, "--explain", check=False)
    assert shown.returncode == 1
    assert re.search(r"(?m)^proven    inputs changes input left, output words.txt$", shown.stdout), shown.stdout
    assert "no cause  code" in shown.stdout
    assert "With these taken back, the second run gives the first one's result, to the last bit." in shown.stdout


#: A step that reads a dataset of which git has no bytes.
READING = """\
from pydantic import BaseModel

from .reproducibility import Result, Run


class Settings(BaseModel):
    seed: int
    threads: int
    word: str


def do(settings: Settings, run: Run) -> Result:
    file = run.folder / "words.txt"
    file.write_text((run.path("pictures") / "ü/a.bin").read_text())
    return Result(None, None, None, {}, outputs={"words.txt": file})
"""


def test_a_second_clone_without_the_data_stands_on_the_same_proofs(small: Project, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "ü").mkdir(parents=True)
    for name in ("ü/a.bin", "b.bin"):
        (pictures / name).write_text(name)
    store: dict[str, Any] = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/store/mlflow.db"}
    (tmp_path / "store").mkdir()
    (small.path / "bikes/first.py").write_text(READING)
    small.just("data-add", str(pictures), "--limit", "1", **store)
    small.commit()
    small.just("pipeline", **store)

    other = tmp_path / "other" / "bikes"
    small.git("clone", "--quiet", str(small.path), str(other))
    (other / ".venv").symlink_to(small.path / ".venv")
    second = Project(other)
    assert not (other / "data/pictures").exists()
    assert began(second.just("pipeline", **store).stdout) == {}, "what is registered is what a run would be given"
    chain = second.just("reproduce", "last", "--chain", **store).stdout
    assert verdicts(chain) == dict.fromkeys(NEEDS, "identical") and not (other / "data/pictures").exists()
    assert began(second.just("pipeline", "first", "--fresh", **store).stdout).keys() == {"first"}
    assert (other / "data/pictures/ü/a.bin").read_text() == "ü/a.bin"


def test_a_killed_registration_of_a_folder_goes_on(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20_000):
        (folder / str(number)).write_text(f"{number}\n")

    def copied() -> bool:
        return any(len(list(draft.glob("many/*"))) > 1000 for draft in (project.path / "data").glob(".fetch-*"))

    with started(project, "just", "data-add", str(folder), "--limit", "1") as process:
        wait_for(lambda: process.poll() is not None or copied(), "files are copied", 300)
        assert process.poll() is None, process.communicate()[0]
        killed(process, "all", "data")
    assert "many" not in (project.path / "data/datasets.yaml").read_text()
    added = project.just("data-add", str(folder), "--limit", "1").stdout
    assert "many: data/many, 20,000 files" in added
    assert "2 datasets, all as registered" in project.just("data-check").stdout
    assert not [run for run in project.runs() if run.info.status == "RUNNING"]
