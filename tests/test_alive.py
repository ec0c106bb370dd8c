"""Which runs are dead, and what a killed process left: only what is this project's, and only what is really dead."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import mlflow
import pytest
from mlflow.store.tracking import sqlalchemy_store
from mlflow.utils import mlflow_tags

from harness import FOLDER, load

liveness = load("store.liveness")
bare_runs = load("store.bare_runs")
leftovers = load("cli.leftovers")
errors = load("common.errors")
project = load("common.project")
run_object = load("training.run_object")
scratch = load("common.scratch")
search = load("store.search")
sqlite = load("store.sqlite")
tracking = load("store.tracking")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with a store in it."""
    folder = tmp_path_factory.mktemp("alive") / "bikes"
    folder.mkdir()
    sqlite.create(folder / "mlflow.db", folder / "mlruns")
    return folder


@pytest.fixture
def root(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bikes"
    shutil.copytree(store, folder)
    for module in (liveness, bare_runs, leftovers, tracking):
        monkeypatch.setattr(module, "ROOT", folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ENV_ROOT", str(tmp_path / "envs"))
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    return folder


def begin(experiment: str = "bikes", tags: dict[str, str] | None = None, age: float = 0) -> str:
    """Begin a run and end it nowhere."""
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    identity = found.experiment_id if found else client.create_experiment(experiment)
    started = round((time.time() - age) * 1000)
    return str(client.create_run(identity, start_time=started, tags=tags or {}).info.run_id)


def status(run_id: str) -> str:
    return str(mlflow.get_run(run_id).info.status)


def in_killed(body: Callable[[], str]) -> str:
    """Do something in a process that is then killed, and give what it told."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, body().encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        return stream.read()


def killed(root: Path, **changes: Any) -> dict[str, str]:
    """The tag of a process that was killed while it held its lock."""
    held = liveness.held()
    tag = json.loads(in_killed(lambda: held.__enter__()[liveness.TAG]))
    assert Path(tag["lock"]).exists()
    return {liveness.TAG: json.dumps(tag | changes)}


def half_made(path: Path) -> str:
    """Begin to make a store as a process does that is killed meanwhile, and give the draft's path."""
    begun = []

    def begin(uri: str, _: str) -> None:
        begun.append(sqlite.path_of(uri))
        raise OSError

    with (
        patch.object(sqlalchemy_store, "SqlAlchemyStore", begin),
        patch.object(sqlite, "_remove"),
        suppress(errors.ProjectError),
    ):
        sqlite.create(path, path.parent / "mlruns")
    return str(begun[0])


# --- Runs with a lock -------------------------------------------------------------
def test_a_run_is_closed_in_whatever_experiment_it_is_once_its_process_is_gone(root: Path) -> None:
    with liveness.held() as tag:
        living = begin(tags=tag)
        dead = [begin(name, killed(root)) for name in ("bikes", "Default", "of 'others' 50%")]
        assert sorted(liveness.close_dead()) == sorted(f"{run} KILLED" for run in dead)
        assert status(living) == "RUNNING"
    assert {status(run) for run in dead} == {"KILLED"}
    assert not list((Path(os.environ["MLFLOW_ENV_ROOT"]) / "running").iterdir())
    # The process that held its lock ended in order and said nothing: nobody here can tell.
    assert liveness.close_dead() == []


def test_more_runs_than_fit_on_a_page_are_all_closed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    dead = [begin(tags=killed(root)) for _ in range(5)]
    assert sorted(liveness.close_dead()) == sorted(f"{run} KILLED" for run in dead)


HERE = liveness._machine()


@pytest.mark.parametrize(
    ("changes", "closed"),
    [
        ({}, True),
        ({"boot": "before"}, True),
        # Another host of the same name, by a shared folder.
        ({"boot": "another", "machine": "another"}, False),
        # Another host by the image that both were made from.
        ({"boot": "another", "name": "another"}, False),
        # A container on another host: it has no identity of its own.
        ({"boot": "another", "machine": ""}, False),
        # Another container of this host and name, with a file system of its own: the lock is not here.
        ({"lock": "/of/another/container.lock"}, False),
        # The same, and it was made from an image of the first: the lock is here, but as a copy.
        ({"file": 1}, False),
        # Somebody else's project in a store of many.
        ({"project": "/srv/other"}, False),
    ],
)
def test_a_run_is_closed_only_by_who_can_see_that_it_is_dead(
    root: Path, changes: dict[str, Any], closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not HERE["machine"]:
        monkeypatch.setattr(liveness, "_machine", lambda: HERE | {"machine": "me"})
        changes = {"machine": "me", **changes}
    run = begin(tags=killed(root, **changes))
    assert (liveness.close_dead() == [f"{run} KILLED"]) is closed
    assert status(run) == ("KILLED" if closed else "RUNNING")


def test_a_machine_without_identity_is_told_from_no_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_machine", lambda: HERE | {"machine": ""})
    run = begin(tags=killed(root, machine="", boot="before"))
    assert liveness.close_dead() == []
    assert status(run) == "RUNNING"


def test_a_run_of_an_earlier_release_is_closed_where_its_lock_is(root: Path, tmp_path: Path) -> None:
    lock = json.loads(killed(root)[liveness.TAG])["lock"]
    name = HERE["name"]
    here, elsewhere, container = (
        begin(tags={liveness.TAG: tag}) for tag in (f"{name} {lock}", f"other {lock}", f"{name} {tmp_path}/gone.lock")
    )
    assert liveness.close_dead() == [f"{here} KILLED"]
    assert {status(elsewhere), status(container)} == {"RUNNING"}


def test_an_earlier_release_closes_no_run_of_this_one(root: Path) -> None:
    """It takes the first word of the tag for the name of a machine."""
    assert killed(root)[liveness.TAG].partition(" ")[0] != HERE["name"]


def test_a_lock_that_a_colleague_keeps_private_is_passed_by(root: Path, tmp_path: Path) -> None:
    tag = json.loads(killed(root)[liveness.TAG])
    private = tmp_path / "private"
    private.mkdir()
    shutil.move(tag["lock"], private / "x.lock")
    program = (
        f"import os, sys; sys.path.insert(0, {str(FOLDER.parents[2] / 'scripts')!r})\n"
        "from harness import load; is_free = load('common.waiting').is_free\nfrom pathlib import Path\n"
        "os.setuid(65534) if os.geteuid() == 0 else None\nprint(is_free(Path(sys.argv[1])))\n"
    )
    private.chmod(0o700 if os.geteuid() == 0 else 0)
    done = subprocess.run(
        [sys.executable, "-c", program, str(private / "x.lock")], capture_output=True, text=True, cwd="/"
    )
    private.chmod(0o700)
    assert done.stdout == "False\n", done.stderr


def test_a_run_that_could_not_be_marked_is_marked_as_it_ended_by_the_next_doctor(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with liveness.held() as tag:
        run = begin(tags=tag)
        with liveness.ending(run, "FAILED", tag):
            raise mlflow.MlflowException("the store is away")
    assert "`just doctor` does that later" in capsys.readouterr().err
    assert status(run) == "RUNNING"
    assert liveness.close_dead() == [f"{run} FAILED"]
    assert status(run) == "FAILED"
    assert not list((Path(os.environ["MLFLOW_ENV_ROOT"]) / "running").iterdir())


# --- Runs of a bare `mlflow run` --------------------------------------------------
def bare(root: Path, **changes: str) -> dict[str, str]:
    tags = {
        mlflow_tags.MLFLOW_SOURCE_TYPE: "PROJECT",
        mlflow_tags.MLFLOW_SOURCE_NAME: root.as_uri(),
        mlflow_tags.MLFLOW_USER: bare_runs._user(),
    }
    return tags | changes


def test_a_bare_run_that_died_before_our_code_is_closed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare_runs, "_is_seen_by_nobody_else", lambda: True)
    dead = begin("Default", bare(root), age=120)
    source, user = mlflow_tags.MLFLOW_SOURCE_NAME, mlflow_tags.MLFLOW_USER
    spared = {
        "just begun": begin("Default", bare(root)),
        "of another project": begin("Default", bare(root, **{source: "file:///srv/other"}), 120),
        "of another person": begin("Default", bare(root, **{user: "eve"}), 120),
        "begun by an old harness": begin("Default", bare(root, **{"repro.seed": "1"}), 10**6),
        "of no project": begin("Default", {user: bare_runs._user()}, 10**6),
    }
    program = "import sys, time; print('there', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program, "mlflow", "run", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None and process.stdout.readline()
        assert liveness.close_dead() == []  # it may be the one
        process.kill()
    variables = os.environ | {"MLFLOW_RUN_ID": dead}
    with subprocess.Popen(command[:-3], stdout=subprocess.PIPE, env=variables) as process:
        assert process.stdout is not None and process.stdout.readline()
        assert liveness.close_dead() == []  # what outlived its `mlflow run`
        process.kill()
    assert liveness.close_dead() == [f"{dead} KILLED"]
    assert {name: status(run) for name, run in spared.items()} == dict.fromkeys(spared, "RUNNING")


def test_where_others_may_write_the_store_a_bare_run_is_closed_after_a_day(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare_runs, "_is_seen_by_nobody_else", lambda: False)
    young, old = (begin("Default", bare(root), age) for age in (86000, 87000))
    assert liveness.close_dead() == [f"{old} KILLED"]
    assert status(young) == "RUNNING"


def test_in_a_store_of_many_only_a_commit_says_whose_a_bare_run_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "is_own_store", lambda: False)
    monkeypatch.setattr(bare_runs, "has_commit", lambda commit: commit == "ours")
    ours, theirs = (
        begin("Default", bare(root, **{mlflow_tags.MLFLOW_GIT_COMMIT: commit}), 10**6) for commit in ("ours", "theirs")
    )
    assert liveness.close_dead() == [f"{ours} KILLED"]
    assert status(theirs) == "RUNNING"


# --- What a kill leaves -----------------------------------------------------------
def test_what_killed_processes_left_is_removed_and_nothing_else(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    environment = tmp_path / "envs" / "mlflow-of-ours"
    monkeypatch.setattr(leftovers, "mlflow_environment", SimpleNamespace(current=lambda: environment))
    held = scratch.temporary_folder("replay")
    (Path(in_killed(lambda: str(held.__enter__()))) / "code").mkdir()
    [dead] = (tmp_path / "tmp").iterdir()
    assert dead.name.startswith(f"{scratch.PREFIX}replay-")
    foreign = tmp_path / "tmp" / dead.name.replace(scratch.PREFIX, f"{project.PACKAGE}-01234567-")
    shutil.copytree(dead, foreign)
    unlocked = tmp_path / "tmp" / f"{scratch.PREFIX}just-made"
    unlocked.mkdir()
    old = tmp_path / "tmp" / f"{scratch.PREFIX}died-at-once"
    old.mkdir()

    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    draft = in_killed(lambda: half_made(root / "other.db"))
    drafts = [Path(draft), Path(f"{draft}-journal")]
    gone = [
        root / f"constraints.txt.{process.pid}.part",
        *drafts,
        root / f"data/raw/cars.csv.{process.pid}.part",
        root / "data/.fetch-a1b2.part/cars.csv",
        root / "data/cars.download.part/x",
        environment / f"projects.json.{process.pid}.part",
        environment / "lib/python3.11/site-packages/numpy/__pycache__.part/x.pyc",
    ]
    kept = [
        root / f"constraints.txt.{os.getpid()}.part",  # of a living process
        root / f"data/young.csv.{process.pid}.part",
        root / "data/film.part",  # not ours
        root / "data/.fetch-c3d4.part/cars.csv",  # of a download that goes on
        root / f"notes/mine.{process.pid}.part",
    ]
    for path in (*gone, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    stale = [kept[0], kept[2], kept[3].parent, kept[4], *(path.parent for path in gone if "part" in path.parent.name)]
    for path in (*gone, *stale, old):
        os.utime(path, (0, 0))
    with scratch.temporary_folder("capture") as living:
        removed = leftovers.remove()
        assert living.exists()
    assert not dead.exists() and not old.exists()
    assert foreign.exists() and unlocked.exists()
    assert len(removed) == 2 + len(gone)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)
    assert leftovers.remove() == []


def test_the_folder_of_a_training_that_goes_on_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(leftovers, "_parts", lambda: [])
    run = run_object.Run(1)
    assert [*run.folder.iterdir()] == []
    for path in (run.folder, *tmp_path.rglob("*")):
        os.utime(path, (0, 0))
    assert leftovers.remove() == []
    assert run.folder.exists()
    del run
    assert [*tmp_path.iterdir()] == []
