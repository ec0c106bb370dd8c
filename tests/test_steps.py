"""Projects of several steps: each proven, skipped while its proof holds, and executed again back to the raw data."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Project, refused
from test_interrupts import send, started, wait_for

import harness

ProjectError = harness.load("common.errors").ProjectError
inputs = harness.load("record.inputs")
order = harness.load("pipeline.order")
makers, outputs = harness.load("record.makers"), harness.load("record.outputs")
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
    """All runs of a step that are no replays, the newest first."""
    return [
        run
        for run in project.runs()
        if run.data.tags.get("repro.step") == step and "repro.reproduces" not in run.data.tags
    ]


def chain_page(project: Project, run_id: str) -> str:
    """The page of a chain's verdict."""
    return (project.path / f"mlruns/{run_id}/artifacts/chain.html").read_text("utf-8")


def record(project: Project, run: Any) -> dict[str, Any]:
    [file] = project.path.glob(f"mlruns/{run.info.run_id}/artifacts/record/record.json")
    content: dict[str, Any] = json.loads(file.read_text())
    return content


@pytest.mark.e2e
@pytest.mark.slow
def test_pipeline_is_done_skipped_traced_and_proven_from_the_raw_data(pipeline: Project) -> None:
    done = pipeline.just("pipeline").stdout
    assert re.findall(r"(?m)^(\w+) +is done: run", done) == ["prepare", "train", "evaluate"]
    [prepare], [train], [evaluate] = (of_step(pipeline, name) for name in ("prepare", "train", "evaluate"))
    [parent] = [run for run in pipeline.runs() if run.info.run_name == "pipeline"]
    assert {run.data.tags["mlflow.parentRunId"] for run in (prepare, train, evaluate)} == {parent.info.run_id}
    assert json.loads(parent.data.tags["repro.standing"])["train"] == train.info.run_id
    note = parent.data.tags["mlflow.note.content"]
    assert f"train [{train.info.run_id[:8]}](#/" in note and f"just reproduce {evaluate.info.run_id} --chain" in note
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
    artifacts = pipeline.path / f"mlruns/{evaluate.info.run_id}/artifacts"
    assert (artifacts / "lineage.png").exists()
    page = (artifacts / "lineage.html").read_text("utf-8")
    assert all(run.info.run_id in page for run in (prepare, train, evaluate)) and "breast_<wbr>cancer.<wbr>csv" in page

    alone = pipeline.just("reproduce", evaluate.info.run_id).stdout
    assert "identical: every stage is equal" in alone
    chain = pipeline.just("reproduce", "last", "--chain").stdout
    assert re.findall(r"(?m)^(\w+) +run \w+ +(\w+)$", chain) == [
        ("prepare", "identical"),
        ("train", "identical"),
        ("evaluate", "identical"),
    ]
    assert f"kept in run {evaluate.info.run_id}: chain.html" in chain
    page = chain_page(pipeline, evaluate.info.run_id)
    assert '<main class="identical">' in page and "differs" not in page.partition("</style>")[2]
    replays = {
        run.data.tags["repro.reproduces"]: run
        for run in reversed(pipeline.runs())
        if "repro.reproduces" in run.data.tags
    }
    for run in (prepare, train, evaluate):
        assert run.info.run_id in page and replays[run.info.run_id].info.run_id in page
        assert run.data.tags["repro.result"] in page
    assert of_step(pipeline, "prepare")[0].data.tags["repro.verdict"] == "identical"


# --- A small project of four steps, of which two can be done side by side ---------
SMALL = '''\
"""Four steps that write texts."""

from .reproducibility import Experiment, Train, main


def step(name: str):
    def load() -> tuple[type, Train]:
        from importlib import import_module

        module = import_module(f".{name}", __package__)
        return module.Settings, module.do

    return load


def experiment() -> Experiment:
    return Experiment(steps={name: step(name) for name in ("left", "last", "right", "first")})


if __name__ == "__main__":
    main(experiment)
'''
STEP = """\
import os
import time
from pathlib import Path

from pydantic import BaseModel

from .reproducibility import Result, Run


class Settings(BaseModel):
    seed: int
    threads: int
    word: str


def do(settings: Settings, run: Run) -> Result:
    words = [run.input(name).read_text() for name in sorted(run.inputs)] + [settings.word]
    file = run.folder / "words.txt"
    file.write_text(" ".join(words))
    folder = Path(os.environ.get("MEETING", "/nonexistent"))
    if folder.exists() and settings.word in ("left", "right"):
        (folder / settings.word).touch()
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.01)
    if "WAIT" in os.environ and settings.word == os.environ["WAIT"]:
        Path(os.environ["READY"]).touch()
        while True:
            time.sleep(0.05)
    if settings.word == "broken":
        raise ValueError("planted")
    return Result(None, None, None, {"words": len(words)}, outputs={"words.txt": file})
"""
NEEDS = {"first": [], "left": ["first"], "right": ["first"], "last": ["left", "right"]}


def into_small_steps(project: Project) -> Project:
    """Make four small steps of a project."""
    (project.path / "bikes" / "__main__.py").write_text(SMALL)
    (project.path / "confs" / "train.yaml").unlink()
    for name, needed in NEEDS.items():
        (project.path / "bikes" / f"{name}.py").write_text(STEP)
        lines = [f"  {other}: step:{other}/words.txt" for other in needed]
        text = "\n".join(["seed: 1", "threads: 1", f"word: {name}", *(["inputs:", *lines] if lines else [])])
        (project.path / "confs" / f"{name}.yaml").write_text(f"{text}\n")
    project.commit()
    return project


@pytest.fixture
def small(project: Project) -> Project:
    """A committed project of four small steps."""
    return into_small_steps(project)


def began(output: str) -> dict[str, str]:
    """The steps that were done, and why."""
    return dict(re.findall(r"(?m)^(\w+) +begins: (.*)$", output))


def verdicts(output: str) -> dict[str, str]:
    """What `reproduce --chain` says of each link."""
    return dict(re.findall(r"(?m)^(\w+) +run \w+ +(\w+)$", output))


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_step_is_done_again_for_every_cause_and_for_no_other(small: Project, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    done = small.just("pipeline", MEETING=str(meeting)).stdout
    assert began(done).keys() == NEEDS.keys()
    assert {path.name for path in meeting.iterdir()} == {"left", "right"}, "they were done side by side"
    [last] = of_step(small, "last")
    assert (small.path / f"mlruns/{last.info.run_id}/artifacts/outputs/words.txt").read_text() == (
        "first left first right last"
    )
    assert began(small.just("pipeline").stdout) == {}

    # A conf, and what follows from it; the step beside it stays as it is.
    edit(small.path / "confs/left.yaml", "word: left", "word: links")
    causes = began(small.just("pipeline").stdout)
    assert causes.keys() == {"left", "last"} and causes["left"].endswith("its conf changed")
    assert causes["last"].endswith("the input left is another")
    # Back again: the earlier runs stand, without being done once more.
    edit(small.path / "confs/left.yaml", "word: links", "word: left")
    assert began(small.just("pipeline").stdout) == {}
    # Code of one step; what it makes is the same, so that nothing follows.
    edit(small.path / "bikes/first.py", "import os\n", "import os  # edited\n")
    causes = began(small.just("pipeline").stdout)
    assert causes.keys() == {"first"} and causes["first"].endswith("bikes/first.py changed")
    # One that was proven to be another does not stand.
    [newest, *_] = of_step(small, "first")
    small.client().set_tag(newest.info.run_id, "repro.verdict", "different")
    assert "gave another result" in began(small.just("pipeline", "first").stdout)["first"]
    # Only what is asked for.
    assert began(small.just("pipeline", "right", "--fresh").stdout).keys() == {"first", "right"}
    # A failure ends it; the next goes on from there.
    edit(small.path / "confs/right.yaml", "word: right", "word: broken")
    failed = small.just("pipeline", check=False)
    assert failed.returncode == 3 and "ValueError: planted" in failed.stdout
    assert "last" not in began(failed.stdout)
    assert "error: the step 'right' failed; its own message stands above.\nfix: " in failed.stdout
    [parent, *_] = [run for run in small.runs() if run.info.run_name == "pipeline"]
    assert parent.info.status == "FAILED"
    edit(small.path / "confs/right.yaml", "word: broken", "word: rechts")
    assert began(small.just("pipeline").stdout).keys() == {"right", "last"}


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM to just"])
def test_an_interrupted_pipeline_leaves_no_run_open_and_goes_on(small: Project, tmp_path: Path, how: str) -> None:
    ready = tmp_path / "ready"
    with started(small, "just", "pipeline", WAIT="right", READY=str(ready)) as process:
        wait_for(lambda: process.poll() is not None or ready.exists(), "the step has begun", 300)
        assert process.poll() is None, process.communicate()[0]
        send(process, how)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 130, output
        assert "Traceback" not in output
    runs = {run.data.tags.get("repro.step", run.info.run_name): run for run in small.runs()}
    assert runs["pipeline"].info.status == "KILLED" and runs["right"].info.status == "KILLED"
    assert not [run for run in small.runs() if run.info.status == "RUNNING"]
    assert "first" not in began(small.just("pipeline").stdout)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_chain_names_the_first_link_that_parts(small: Project) -> None:
    small.just("pipeline")
    runs = {name: of_step(small, name)[0].info.run_id for name in NEEDS}
    # Changed in the store: nobody is given it, and a chain names it.
    kept = small.path / f"mlruns/{runs['left']}/artifacts/outputs/words.txt"
    was = kept.read_text()
    kept.write_text("planted")
    message = refused(small.just("step", "last", check=False))
    assert f"run {runs['left']} made" in message and "was changed in the store" in message
    assert refused(small.just("reproduce", runs["last"], check=False), 2)
    done = small.just("reproduce", runs["last"], "--chain", check=False)
    assert done.returncode == 1 and "the first link that parts: left" in done.stdout
    changed = "changed in the store since the run: outputs/words.txt"
    assert changed in done.stdout and changed in chain_page(small, runs["last"])
    kept.write_text(was)
    # A step that gives another result each time.
    edit(small.path / "bikes/right.py", "+ [settings.word]", "+ [settings.word, os.urandom(4).hex()]")
    small.just("pipeline")
    runs = {name: of_step(small, name)[0].info.run_id for name in NEEDS}
    assert "identical" in small.just("reproduce", runs["last"]).stdout, "with what it was given, it is"
    done = small.just("reproduce", runs["last"], "--chain", check=False)
    assert done.returncode == 1 and "the first link that parts: right" in done.stdout
    assert "the first stage that differs: output words.txt" in done.stdout
    assert "not tried after that: last" in done.stdout
    page = chain_page(small, runs["last"])
    assert '<main class="different">' in page and "the first link that parts: right" in page
    assert "not tried after that: last" in page and "output words." in page[page.index("<h2>Stages: right</h2>") :]
    # From an artifact of a run, and one that is gone.
    small.git("checkout", "--quiet", "--", "bikes")
    (small.path / "confs/right.yaml").write_text(
        f"seed: 1\nthreads: 1\nword: right\ninputs:\n  first: runs:/{runs['first']}/outputs/words.txt\n"
    )
    small.just("step", "right")
    assert "identical" in small.just("reproduce", "last", "--chain").stdout
    small.client().delete_run(runs["first"])
    shutil.rmtree(small.path / f"mlruns/{runs['first']}")
    assert "cannot be had" in refused(small.just("reproduce", "last", check=False), 2)


# --- Without a run ------------------------------------------------------------
def nothing(settings: Any, run: Any) -> Any:
    raise AssertionError


def test_steps_are_told_in_either_way() -> None:
    both = (int, nothing)
    assert steps.steps_of(lambda: both) == {"train": both}
    assert steps.steps_of(lambda: steps.Experiment(int, nothing, {"prepare": (str, nothing)})) == {
        "prepare": (str, nothing),
        "train": both,
    }
    told = steps.Experiment(steps={"prepare": lambda: both, "train": lambda: pytest.fail("it is not asked for")})
    assert steps.load(lambda: told, "prepare") == both
    for experiment, name, message in (
        (steps.Experiment(int, nothing, {"train": both}), "train", "stands twice"),
        (steps.Experiment(steps={"../up": both}), "../up", "cannot be the name"),
        (steps.Experiment(int, nothing), "prepare", "it has train"),
    ):
        with pytest.raises(ProjectError) as error:
            steps.load(lambda told=experiment: told, name)
        assert message in error.value.cause


@pytest.mark.parametrize(
    "given",
    [
        {"a": "step:prepare"},
        {"a": "prepare/features.parquet"},
        {"a": "runs:/last/x"},
        {"a": "/etc/passwd"},
        {"a": 1},
        ["step:prepare/x"],
        {"a": "s3://bucket/x"},
    ],
)
def test_what_is_no_address_is_refused(given: Any) -> None:
    with pytest.raises(ProjectError) as error:
        inputs.addresses({"inputs": given})
    assert "step:prepare/features.parquet" in error.value.fix


def test_a_conf_without_inputs_has_none() -> None:
    assert inputs.addresses({"seed": 1}) == inputs.addresses({"inputs": None}) == {}
    assert inputs.steps({"inputs": {"a": "step:b/x", "c": "models:/bikes@champion", "d": "step:b/y"}}) == {"b"}


def test_steps_are_put_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "ROOT", tmp_path)
    (tmp_path / "confs").mkdir()

    def write(**needed: str) -> list[str]:
        for name, address in needed.items():
            lines = ["seed: 1", "threads: 1", *([f"inputs: {{x: '{address}'}}"] if address else [])]
            (tmp_path / "confs" / f"{name}.yaml").write_text("\n".join(lines))
        return list(needed)

    names = write(c="step:b/x", b="step:a/x", a="", other="")
    assert [name for name in order.load(names) if name != "other"] == ["a", "b", "c"]
    assert list(order.load(names, "b")) == ["a", "b"]
    assert not order.is_line(order.load(names)) and order.is_line(order.load(names, "c"))
    with pytest.raises(ProjectError, match="a step 'd'"):
        order.load(write(a="step:d/x"))
    with pytest.raises(ProjectError, match="in a circle: "):
        order.load(write(a="step:b/x", b="step:a/x"))
    with pytest.raises(ProjectError, match="no step 'z'"):
        order.load(names, "z")
    with pytest.raises(ProjectError, match="cannot be read"):
        order.load(["missing"])
    (tmp_path / "confs/a.yaml").write_text("threads: 1")
    with pytest.raises(ProjectError, match=r"confs/a.yaml: `seed` is None"):
        order.load(names)


@pytest.mark.parametrize("name", ["../x", "/x", "", "a//b", "a/../b", "a/b"])
def test_an_output_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="cannot be kept under that name"):
        outputs.keep({name: tmp_path, "a": tmp_path}, {})


def test_a_folder_with_nothing_in_it_is_no_part_of_an_output(tmp_path: Path) -> None:
    (tmp_path / "a" / "empty").mkdir(parents=True)
    with pytest.raises(ProjectError, match="a folder without a file"):
        outputs.keep({"a": tmp_path / "a"}, {})
    (tmp_path / "a" / "b").write_text("b")
    one = inputs.Input("x", "step:first/a", "runs:/1/outputs/a", "1", "", 0)
    (tmp_path / "with").mkdir()
    with_it, place = inputs.instead(one, tmp_path / "a", tmp_path / "with")
    (place / "empty").rmdir()
    assert with_it.digest == outputs.digest_of(outputs.scan(place))


def test_a_file_of_a_folder_that_was_made_again_is_the_same_input(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"stages": {"output a": "sha256:2"}, "outputs": {"a": {"b/c": "sha256:1"}}}
    monkeypatch.setattr(makers, "run_of", lambda run_id: KNOWN)
    monkeypatch.setattr(makers, "recorded", lambda run: made)
    had = {"run": "an earlier one", "digest": "sha256:1"}
    assert inputs.is_still("x", had, "step:first/a/b/c", {"first": "newer"})
    assert not inputs.is_still("x", had, "step:first/a", {"first": "newer"})
    assert inputs.is_still("x", had | {"digest": "sha256:2"}, "step:first/a", {"first": "newer"})
    assert not inputs.is_still("x", had, "step:first/a/gone", {"first": "newer"})


@pytest.mark.parametrize(("tags", "told"), [({}, False), ({"repro.step": "train"}, False), ({"repro.step": "a"}, True)])
def test_runs_name_their_steps_where_there_are_some(
    tags: dict[str, str], told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    info = SimpleNamespace(run_id="0" * 32, start_time=0, status="FINISHED")
    run = SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, metrics={"loss": 0.5}))
    harness.load("proof.show").show_runs([run], "")
    columns = capsys.readouterr().out.split()
    assert ("step" in columns) == ("a" in columns) == told


def test_a_chain_is_told_whole_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(harness.load("common.terminal"), "_is_terminal", lambda stream: True)
    data = {
        "path": "data/animals.csv",
        "digest": f"sha256:{'0' * 64}",
        "size": 1234567,
        "source": f"https://{'a' * 99}",
    }
    run = SimpleNamespace(info=SimpleNamespace(run_id="1" * 32), data=SimpleNamespace(tags={}))
    harness.load("pipeline.show").tree(
        harness.load("pipeline.lineage").Link(run, {"step": "train", "data": {"animals": data}})
    )
    _, line = capsys.readouterr().out.splitlines()
    assert "1,234,567 bytes" in line and data["source"] in line


def test_a_command_is_interrupted_when_what_started_it_is_gone() -> None:
    parent = harness.load("common.parent")
    reader, writer = os.pipe()
    starter = os.fork()
    if not starter:
        variables = parent.told()
        if os.fork():
            os.read(os.pipe()[0], 1)  # until it is killed
        os.environ.update(variables)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(os.write(writer, b"interrupted")))
        parent.follow()
        os.write(writer, str(parent.VARIABLE in os.environ).encode())
        while True:
            signal.pause()
    os.close(writer)
    assert os.read(reader, 100) == b"False", "what it starts itself does not hear of it"
    os.kill(starter, signal.SIGKILL)
    os.waitpid(starter, 0)
    assert os.read(reader, 100) == b"interrupted"


standing = harness.load("pipeline.standing")
digest = harness.load("common.digest")
launch = harness.load("randomness.launch")
lockfile = harness.load("environment.lockfile")
manifest = harness.load("datasets.manifest")


#: A run that finished, as a store has it.
KNOWN = SimpleNamespace(info=SimpleNamespace(run_id="0123456789abcdef" * 2), data=SimpleNamespace(tags={}))


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    """The conf of a step, and the record of a run that stands for it."""
    settings = {"seed": 1, "threads": 1, "inputs": {"words": "step:first/words.txt"}}
    (tmp_path / "lock").write_text("numpy==2.4.0\n")
    (tmp_path / "code.py").write_text("C = 1\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/table.csv").write_text("a\n1\n")
    monkeypatch.setattr(manifest, "ROOT", tmp_path)
    monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "data/datasets.yaml")
    monkeypatch.setattr(lockfile, "RUNTIME_LOCK", tmp_path / "lock")
    monkeypatch.setattr(standing, "ROOT", tmp_path)
    entry = manifest.Dataset("table", "data/table.csv", digest.of_file(tmp_path / "data/table.csv"), 4)
    manifest.write_manifest({"table": entry})
    content = {
        "given": digest.of_value(settings),
        "environment": {"lock": digest.of_file(tmp_path / "lock"), "as_locked": True},
        "launch": launch.variables(1, 1),
        "code": {"modules": {"code.py": digest.of_file(tmp_path / "code.py")}},
        "inputs": {"words": {"run": "first", "uri": "runs:/first/outputs/words.txt", "digest": "sha256:1"}},
        "data": {"table": entry.entry()},
    }
    monkeypatch.setattr(makers, "runs_of", lambda step: iter([KNOWN]))
    monkeypatch.setattr(makers, "recorded", lambda run: content)
    monkeypatch.setattr(KNOWN.data, "tags", {})
    return settings, content


def test_a_proof_holds_while_all_of_its_parts_are_the_same(finished: tuple[dict[str, Any], Any]) -> None:
    assert standing.find("last", finished[0], {"first": "first"}) == (KNOWN, "")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda c, s, f: c.clear(), "its record is gone, or not its own"),
        (lambda c, s, f: KNOWN.data.tags.update({"repro.verdict": "different"}), "gave another result"),
        (lambda c, s, f: s.update(seed=2), "its conf changed"),
        (lambda c, s, f: (f / "lock").write_text("numpy==2.4.1\n"), "constraints.txt changed"),
        (lambda c, s, f: c["environment"].update(as_locked=False), "constraints.txt changed"),
        (lambda c, s, f: c["environment"].update(container={"image": "sha256:1"}), "launched in another way"),
        (lambda c, s, f: c["launch"].update(PYTHONHASHSEED="unset"), "launched in another way"),
        (lambda c, s, f: (f / "code.py").write_text("C = 2\n"), "code.py changed"),
        (lambda c, s, f: (f / "code.py").unlink(), "code.py changed"),
        (lambda c, s, f: c["data"]["table"].update(read={"sep": ";"}), "the dataset table is another"),
        (lambda c, s, f: (f / "data/table.csv").write_text("a\n2\n"), "the dataset table is not as registered"),
        (lambda c, s, f: (f / "data/datasets.yaml").write_text("{}\n"), "the dataset table is another"),
        (lambda c, s, f: c["inputs"]["words"].update(run="an earlier one"), "the input words is another"),
    ],
)
def test_every_part_that_changed_is_a_cause(
    change: Any, why: str, finished: tuple[dict[str, Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, content = finished
    monkeypatch.setattr(makers, "run_of", lambda run_id: KNOWN)
    change(content, settings, tmp_path)
    run, said = standing.find("last", settings, {"first": "first"})
    assert run is None and said.startswith("since run 01234567: ") and said.endswith(why)
