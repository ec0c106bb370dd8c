"""PyTorch in several processes: they repeat themselves, are resumed and reproduced, and end together."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import Project, clone, importing, refused
from test_frameworks import STOP
from test_interrupts import assert_killed, send, started, status, wait_for
from test_randomness import FOREIGN_SHELL, recorded, train

e2e = pytest.mark.e2e
slow = functools.partial(pytest.param, marks=pytest.mark.slow)

#: A training of nothing, in which processes talk, log what they like, and end in the way that the environment names.
TALKING = """\
import os
import signal
import sys
import time
from pathlib import Path

import mlflow
import torch
import torch.distributed

from .reproducibility import ProjectError, Result


def train(settings, run):
    mlflow.autolog()
    mlflow.log_metrics({"loss": 1.0, "loss/val": 2.0})
    mlflow.log_param("rank", run.rank)
    mlflow.set_tag("rank", run.rank)
    mlflow.log_text("one", f"{run.rank}.txt")
    run.stage("rank", run.rank)
    run.checkpoint({"rank": str(run.rank).encode()})
    print("printed by", run.rank)
    total = torch.ones(1)
    torch.distributed.all_reduce(total)
    case, rank = os.environ.get("CASE", "").split() or ("", "-1")
    if int(rank) == run.rank:
        match case:
            case "raises":
                raise ValueError("planted")
            case "refuses":
                raise ProjectError("planted", "mend it")
            case "exits":
                sys.exit(0)
            case "vanishes":
                os._exit(5)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "returns":
                return Result(None, None, None, {"total": 1.0})
            case "waits":
                Path(os.environ["READY"]).write_text("now")
                time.sleep(600)
    torch.distributed.all_reduce(total)
    return Result(None, None, None, {"total": float(total), "processes": float(run.processes)})
"""


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ModuleType]]:
    with importing(tmp_path_factory.mktemp("processes") / "project", "processes_under_test") as load:
        yield load


def record(**conf: Any) -> Any:
    """What a comparison wants of a record: all of two is equal but the conf."""
    environment = {"python": "3", "packages": {}, "cpu_features": [], "blas": [], "variables": {}}
    environment |= dict.fromkeys(("gpu", "libc", "machine"), "")
    code = {"modules": {"train.py": "same"}, "commit": "same"}
    content = {"schema": 3, "data": {}, "code": code, "environment": environment, "launch": {}, "model": {"kind": "x"}}
    return SimpleNamespace(
        conf={"seed": 1, "threads": 1, **conf}, content=content, stages={"weights": conf}, metrics={}, parts=dict
    )


def test_another_number_of_processes_is_a_cause_of_its_own_and_none_means_one(load: Any) -> None:
    compare = load("proof.compare")
    found = compare.compare(record(processes=2, epochs=3), record(epochs=4)).differences
    assert [difference.cause for difference in found] == ["processes", "conf"], "it moves the last bits"
    assert found[0].details == ("processes: 2 -> 1, and another number gives other bits",)
    assert found[1].details == ("epochs: 3 -> 4",)
    assert compare.compare(record(processes=1), record()).differences == []


def test_fewer_bits_are_a_cause_of_their_own_where_both_records_say_so(load: Any) -> None:
    a, b, old = record(epochs=3), record(epochs=4), record(epochs=3)
    a.content["environment"]["precision"] = {"cudnn TF32": "True"}
    b.content["environment"]["precision"] = {"cudnn TF32": "False"}
    causes = [difference.cause for difference in load("proof.compare").compare(a, b).differences]
    assert causes == ["precision", "conf"], "it moves the last bits"
    assert load("proof.compare").compare(a, old).differences == []


@pytest.mark.parametrize(("cause", "expected"), [("processes", {"processes": 2, "epochs": 4}), ("conf", {"epochs": 3})])
def test_the_number_of_processes_is_taken_back_by_itself(load: Any, cause: str, expected: dict[str, int]) -> None:
    a, b = record(processes=2, epochs=3), record(epochs=4)
    taken = load("proof.explain").take_back(load("proof.replay").Recipe.of(b), cause, a)
    assert taken.conf == {"seed": 1, "threads": 1, **expected}


def test_only_the_first_process_keeps_anything(load: Any) -> None:
    saved: list[Any] = []
    checkpoints = SimpleNamespace(
        start=load("training.checkpoint").Checkpoint({}), save=lambda *what: saved.append(what)
    )
    runs = [load("training.run_object").Run(1, checkpoints, rank, 2) for rank in range(2)]
    for run in runs:
        run.stage("split", [1, 2])
        run.checkpoint({"weights": b""})
    assert runs[0].rng("x").random() == runs[1].rng("x").random()
    assert [len(run.stages) for run in runs] == [1, 0]
    assert saved == [({"weights": b""}, runs[0].stages)]


def test_what_all_start_from_is_read_as_it_was_written(load: Any, tmp_path: Path) -> None:
    checkpoint = load("training.checkpoint")
    start = checkpoint.Checkpoint({"seed": 0, "drop": []}, {"weights": b"\0"}, {"split": "sha256:1"})
    checkpoint.write(tmp_path / "start.zip", start)
    assert checkpoint.read(tmp_path / "start.zip") == start


@pytest.mark.parametrize(
    ("notes", "ended", "code", "said"),
    [
        (
            {1: [5.0, 3, "planted\n"], 0: [6.0, 3, "gone\n"]},
            {0: (3, 7.0), 1: (3, 7.0)},
            3,
            "rank 1 ended first:\nplanted",
        ),
        ({1: [5.0, 64, "usage\n"]}, {0: (-15, 4.0), 1: (64, 7.0)}, 64, "rank 1 ended first:\nusage"),
        (
            {1: [6.0, 3, "gone\n"]},
            {0: (-9, 5.0), 1: (3, 5.0)},
            3,
            "rank 0 ended first:\nlast line\nerror: it ended wi",
        ),
        ({1: [5.0, 3, "planted\n"]}, {0: (-9, 35.0), 1: (3, 5.0)}, 3, "rank 1 ended first:\nplanted"),
        ({}, {1: (7, 5.0)}, 3, "without a word (exit code 7).\nfix: just train --set processes=1"),
    ],
)
def test_what_ended_first_is_told(
    load: Any, tmp_path: Path, notes: Any, ended: Any, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    multiprocess = load("training.multiprocess")
    base = load("modeling.base")
    for rank, note in notes.items():
        (tmp_path / f"{rank}.json").write_text(json.dumps(note))
    failed = {rank: base.Ended(*how, "last line\n") for rank, how in ended.items()}
    with pytest.raises(load("common.errors").ProjectError) as error:
        multiprocess._tell(failed, 2, tmp_path)
    assert error.value.show() == code
    assert said in capsys.readouterr().err


def test_an_interrupted_process_interrupts_the_training(load: Any, tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text(json.dumps([5.0, 130, "interrupted\n"]))
    with pytest.raises(KeyboardInterrupt):
        load("training.multiprocess")._tell({0: load("modeling.base").Ended(130, 6.0, "")}, 2, tmp_path)


def test_mlflow_takes_everything_and_keeps_nothing(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    registry = tmp_path / "registry.db"
    monkeypatch.setattr(
        os, "environ", os.environ | {"MLFLOW_REGISTRY_URI": f"sqlite:///{registry}", "MLFLOW_EXPERIMENT_ID": "7"}
    )
    try:
        with load("training.untracked").run(tmp_path / "store"):
            mlflow.log_metrics({"loss": 1.0, "loss/val": 2.0})
            mlflow.log_metric("l" * 300, 1.0)
            mlflow.log_param("a", 1)
            mlflow.log_param("a", 2)  # refused elsewhere
            mlflow.set_tags({"a": 1})
            mlflow.log_text("text", "file.txt")
            with mlflow.start_run(nested=True):
                mlflow.log_metric("loss", 3.0)
            run = mlflow.active_run()
        assert run is not None and mlflow.active_run() is None
        assert mlflow.get_run(run.info.run_id).data.metrics == {}
        assert not registry.exists()
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])


def test_other_frameworks_have_one_process_whatever_their_conf_says(load: Any) -> None:
    assert load("framework").FRAMEWORK.processes({"processes": 8}) == 1


@e2e
def test_other_frameworks_refuse_the_key(project: Project) -> None:
    assert "  processes: Extra inputs are not permitted" in refused(
        project.just("train", "--set", "processes=2", check=False)
    )


@pytest.fixture(scope="module")
def base(set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project whose trainings can be stopped in the middle, and a run of it in two processes."""
    project = clone(set_up("regression", "pytorch"), tmp_path_factory.mktemp("base") / "bikes")
    module = project.path / "bikes" / "progress.py"
    source = module.read_text("utf-8")
    assert source.count("    return bool(losses)") == 1
    module.write_text(source.replace("    return bool(losses)", STOP), "utf-8")
    project.commit()
    return project, train(project, "processes=2")


@pytest.fixture
def talking(set_up: Any, tmp_path: Path) -> Project:
    project = clone(set_up("regression", "pytorch"), tmp_path / "bikes")
    (project.path / "bikes" / "train.py").write_text(TALKING)
    return project


def ranks(project: Project) -> dict[int, int]:
    """The processes that train together in a project: each one's parent, by its number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if b"\0rank\0" in (process / "cmdline").read_bytes() and (process / "cwd").samefile(project.path):
                found |= {int(process.name): int(parent)} if state != "Z" else {}
        except OSError:
            continue
    return found


def listening(process: int) -> set[str]:
    """The addresses on which a process listens, as /proc has them."""
    links = [str(link.readlink()) for link in Path(f"/proc/{process}/fd").iterdir()]
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path("/proc/net", kind).read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links}


@e2e
def test_a_run_of_two_processes_is_reproduced_and_one_of_one_is_another(base: Any) -> None:
    project, first = base
    assert first["run"].data.params["conf.processes"] == "2"
    assert {f"step {count}" for count in (1, 2, 4, 8, 16, 32)} <= first["stages"].keys()
    assert first["launch"]["OMP_NUM_THREADS"] == "1" and first["launch"]["PYTHONHASHSEED"] == str(
        first["seeded"]["torch"]
    )
    assert "identical: every stage is equal" in project.just("reproduce", first["run"].info.run_id).stdout
    alone = train(project)
    same = [name for name in first["stages"] if alone["stages"].get(name) == first["stages"][name]]
    assert same == ["data diabetes", "split", "features", "validation", "init"]
    done = project.just("compare", first["run"].info.run_id, alone["run"].info.run_id, check=False)
    assert done.returncode == 1
    assert "the first stage that differs: step 1\n" in done.stdout
    assert re.search(r"most likely cause first:\n  processes processes: 2 -> 1, and another number", done.stdout)


@e2e
@pytest.mark.slow
def test_two_processes_repeat_themselves_in_any_shell_with_workers_and_through_mlflow(base: Any) -> None:
    project, first = base
    for again in (train(project, "processes=2", **FOREIGN_SHELL), train(project, "processes=2", "model.workers=2")):
        assert again["stages"] == first["stages"]
        assert again["result"] == first["result"]
    project.just("run", "--set", "processes=2")
    assert recorded(project.runs()[0])["stages"] == first["stages"]
    assert project.just("verify", "--set", "processes=2").returncode == 0


@e2e
@pytest.mark.slow
def test_without_dropout_the_batches_of_two_processes_are_those_of_one(base: Any) -> None:
    """Equal but for rounding; of 265 rows, 57 a batch, the last is of 37."""
    project, _ = base
    settings = ("model.dropout=0", "model.batch_size=57", "model.epochs=2")
    one, two, five = (train(project, f"processes={count}", *settings) for count in (1, 2, 5))
    for several in (two, five):
        for name, value in one["metrics"].items():
            assert float.fromhex(several["metrics"][name]) == pytest.approx(float.fromhex(value), rel=1e-4)


@e2e
@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "by"), [(2, "SIGKILL"), (3, "SIGTERM")], ids=["two, killed", "three, interrupted"]
)
def test_a_resumed_training_gives_the_bits_of_one_that_was_never_interrupted(
    base: Any, processes: int, by: str
) -> None:
    project, first = base
    if processes != 2:
        first = train(project, f"processes={processes}")
    done = project.just("train", "--set", f"processes={processes}", check=False, STOP_AT="13", STOP_BY=by)
    stopped = project.runs()[0]
    assert (done.returncode, stopped.info.status) == ((3, "FAILED") if by == "SIGKILL" else (130, "KILLED"))
    project.just("train", "--resume", stopped.info.run_id)
    resumed = project.runs()[0]
    assert resumed.data.tags["repro.resumes"] == stopped.info.run_id
    assert recorded(resumed)["stages"] == first["stages"]
    assert recorded(resumed)["metrics"] == first["metrics"]


@e2e
@pytest.mark.slow
def test_the_number_of_processes_is_proven_to_be_the_cause(base: Any) -> None:
    project, first = base
    alone = train(project)["run"].info.run_id
    done = project.just("compare", first["run"].info.run_id, alone, "--explain", check=False)
    assert "proven    processes changes step 1" in done.stdout
    assert "the second run gives the first one's result, to the last bit" in done.stdout


@e2e
@pytest.mark.slow
def test_all_do_the_same_and_only_the_first_tracks(talking: Project) -> None:
    done = train(talking, "processes=2")
    run, client = done["run"], talking.client()
    assert done["output"].count("printed by 0") == 1 and "printed by 1" not in done["output"]
    assert done["output"].count(run.info.run_id) == 1
    assert (run.info.status, run.data.metrics["total"], run.data.metrics["processes"]) == ("FINISHED", 4.0, 2.0)
    assert run.data.tags["rank"] == "0" and run.data.params["rank"] == "0"
    files = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    assert "0.txt" in files and "1.txt" not in files
    assert len(talking.runs()) == 1
    assert talking.git("status", "--porcelain") == "M bikes/train.py"
    assert not ranks(talking)


@e2e
@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("raises 1", "ValueError: planted"),
        slow("raises 0", "ValueError: planted"),
        slow("refuses 1", "error: planted\nfix: mend it\n"),
        slow("exits 1", "error: the training called sys.exit(0)"),
        slow("vanishes 1", "error: it ended without a word (exit code 5)."),
        slow("killed 0", "error: it ended without a word (SIGKILL)."),
        slow("returns 1", "gloo/transport/tcp/pair.cc"),  # "closed" or "reset by peer": TCP knows both
    ],
)
def test_an_error_in_one_process_ends_all_and_is_told_once(talking: Project, case: str, said: str) -> None:
    done = talking.just("train", "--set", "processes=2", check=False, CASE=case)
    [run] = talking.runs()
    assert (done.returncode, run.info.status) == (3, "FAILED"), done.stdout
    first = 1 - int(case[-1]) if case.startswith("returns") else int(case[-1])
    assert f"Of 2 processes that train together, rank {first} ended first:\n" in done.stdout
    assert done.stdout.count(said) == 1, done.stdout
    assert done.stdout.count("Traceback") == (1 if case.startswith(("raises", "returns")) else 0), done.stdout
    assert done.stdout.count("is marked FAILED") == 1
    assert not ranks(talking), "no process is left"


@e2e
@pytest.mark.parametrize("how", [slow("Ctrl-C"), slow("Ctrl-C twice"), slow("SIGTERM to just")])
def test_an_interrupt_ends_all_and_the_run_is_marked_killed(talking: Project, how: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = ("just", "train", "--set", "processes=2")
    with started(talking, *command, CASE="waits 1", READY=str(ready)) as process:
        wait_for(lambda: process.poll() is not None or ready.exists(), "the training has begun")
        assert process.poll() is None, process.communicate()[0]
        assert len(ranks(talking)) == 2
        for part in {*ranks(talking), *ranks(talking).values()}:
            assert listening(part) <= {"0100007F"}, "the network's other machines could talk to it"
        assert any(listening(part) for part in ranks(talking)), "looked at nothing"
        send(process, how)
        assert_killed(talking, process)
        assert process.returncode == 130
    assert not ranks(talking), "no process is left"


@e2e
@pytest.mark.slow
def test_an_interrupt_in_the_first_moment_leaves_nothing(talking: Project) -> None:
    with started(talking, "just", "train", "--set", "processes=2") as process:
        wait_for(lambda: process.poll() is not None or status(talking), "the store has the run")
        send(process, "Ctrl-C")
        assert_killed(talking, process)
    wait_for(lambda: not ranks(talking), "no process is left", 5)


@e2e
@pytest.mark.slow
def test_processes_end_soon_after_the_one_that_started_them_was_killed(talking: Project, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with started(talking, "just", "train", "--set", "processes=2", CASE="waits 0", READY=str(ready)) as process:
        wait_for(lambda: process.poll() is not None or ready.exists(), "the training has begun")
        [parent] = {*ranks(talking).values()}
        os.kill(parent, signal.SIGKILL)
        wait_for(lambda: not ranks(talking), "no process is left", 5)
    assert status(talking) == "RUNNING"
    talking.just("doctor", check=False)
    assert status(talking) == "KILLED"


@e2e
@pytest.mark.slow
def test_what_cannot_be_is_refused_before_a_run_begins(talking: Project, tmp_path: Path) -> None:
    python = str(talking.path / ".venv" / "bin" / "python")
    program = (
        "from bikes.__main__ import experiment\n"
        "from bikes.reproducibility import ProjectError\n"
        "from bikes.reproducibility.execute import execute\n"
        "try:\n    execute(experiment, 'confs/train.yaml', ('processes=2',))\n"
        "except ProjectError as error:\n    print(error.cause, error.fix)\n"
    )
    done = talking.run(python, "-c", program)
    assert "`processes` is 2, and a notebook or a script is one. just train --set processes=2" in done.stdout
    pretend = (
        "import torch\n"
        "from bikes.reproducibility import ProjectError\n"
        "from bikes.reproducibility.framework import FRAMEWORK\n"
        "torch.cuda.device_count = lambda: 1\n"
        "assert FRAMEWORK.processes({'processes': 1}) == FRAMEWORK.processes({}) == 1\n"
        "try:\n    FRAMEWORK.processes({'processes': 2})\n"
        "except ProjectError as error:\n    print(error.cause)\n"
        "torch.cuda.device_count = lambda: 0\n"
        "torch.distributed.is_gloo_available = lambda: False\n"
        "try:\n    FRAMEWORK.processes({'processes': 2})\n"
        "except ProjectError as error:\n    print(error.cause)\n"
    )
    done = talking.run(python, "-c", pretend)
    assert "2 processes want a GPU each, and there is 1." in done.stdout
    assert "was built without torch.distributed, or without gloo." in done.stdout
    assert "processes: Input should be greater than or equal to 1" in refused(
        talking.just("train", "--set", "processes=0", check=False)
    )
    assert not (talking.path / "mlflow.db").exists()
