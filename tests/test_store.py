"""The store where it is a file: waited for, never half-made, told truthfully, wherever it lies."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from conftest import Project, clone, refused

from harness import load

sqlite = load("store.sqlite")
sqlite_connection = load("store.sqlite_connection")
tracking = load("store.tracking")
waiting = load("common.waiting")
errors = load("common.errors")
locking = load("common.locking")
#: What strangers call their folders. SQLAlchemy and MLflow each read some of these characters as their own.
HOLDER = (
    "import sqlite3, sys, time\n"
    "store = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "store.execute('BEGIN ' + sys.argv[2].replace('READ', ''))\n"
    "store.execute('SELECT count(*) FROM sqlite_master').fetchall()\n"
    "print('locked', flush=True)\ntime.sleep(600)\n"
)
ALL_NASTY = """50% off a%20b c# what? it's "x" ü;&=[y]{z}$HOME `id`"""
NASTY = ["50% off", "a%20b", "c#", "what?", "it's", "a b", ALL_NASTY]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is made: MLflow takes seconds for it."""
    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    sqlite.create(path, path.parent / "mlruns")
    return path


@pytest.fixture
def root(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder as far as the store needs one."""
    monkeypatch.setattr(sqlite, "create", lambda path, artifacts: shutil.copy(tables, path))
    return use(tmp_path / "bikes", monkeypatch)


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir(parents=True)
    for module in (tracking, load("store.relocate")):
        monkeypatch.setattr(module, "ROOT", folder)
    monkeypatch.setattr(tracking, "options", lambda: {"experiment": "bikes", "tracking-uri": "sqlite:///mlflow.db"})
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    monkeypatch.chdir(folder)
    return folder


@contextmanager
def locked(path: Path, how: str = "EXCLUSIVE") -> Iterator[subprocess.Popen[str]]:
    """Another process that has locked a database, in the middle of writing, or while it reads."""
    command = [sys.executable, "-c", HOLDER, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        yield holder
        holder.kill()


def in_between(seconds: float, what: Any) -> threading.Timer:
    timer = threading.Timer(seconds, what)
    timer.start()
    return timer


# --- Waiting for a lock ---------------------------------------------------------
@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE", "READ", "WAL"])
def test_every_call_waits_for_whoever_has_locked_the_store_and_says_for_whom(
    root: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tracking.connect()
    store = root / "mlflow.db"
    if how == "WAL":
        with closing(sqlite3.connect(store)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    with mlflow.start_run() as run, locked(store, "IMMEDIATE" if how == "WAL" else how) as holder:
        timer = in_between(1.6, holder.kill)
        mlflow.log_metric("a", 1.0)
        mlflow.set_tag("b", "c")
        timer.join()
    assert mlflow.get_run(run.info.run_id).data.metrics == {"a": 1.0}
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert said.count("notice: waiting for the store") == 1
    assert f"locked by process {holder.pid} of " in said and "python -c import sqlite3" in said


@pytest.mark.parametrize(
    ("path", "own"), [("mlflow.db", True), ("runs/../mlflow.db", True), ("../other/mlflow.db", False), ("..", False)]
)
def test_a_store_is_the_projects_own_by_where_it_lies(
    root: Path, path: str, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/{path}")
    assert tracking.is_own_store() is own


def test_a_lock_of_a_moment_is_waited_for_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, pauses = tmp_path / "store.db", list[float]()
    with closing(sqlite3.connect(file, isolation_level=None)) as other, closing(sqlite3.connect(file, 0)) as own:
        other.execute("BEGIN EXCLUSIVE")

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 8:
                other.execute("ROLLBACK")

        monkeypatch.setattr(time, "sleep", sleep)
        waiting.patiently(lambda: own.execute("CREATE TABLE made (x)"), file, "the store")
    assert pauses[0] <= 0.001 and pauses[-1] == waiting.PAUSE, "at first often, then seldom"


def test_a_store_that_is_locked_at_the_start_is_waited_for(root: Path) -> None:
    tracking.connect()
    with locked(root / "mlflow.db") as holder:
        timer = in_between(0.5, holder.kill)
        assert tracking.connect()
        timer.join()


def test_a_store_that_stays_locked_is_told_on_one_screen_and_is_not_to_be_touched(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tracking.connect()
    store = root / "mlflow.db"
    monkeypatch.setattr(sqlite_connection, "PATIENCE", 2.0)
    monkeypatch.setattr(sqlite_connection, "HURRY", 0.1)
    with locked(store) as holder:
        with pytest.raises(errors.ProjectError, match=f"locked by process {holder.pid} ") as refused:
            tracking.connect()
        assert refused.value.exit_code == 3
        for dangerous in ("rename", "delete", "rm ", "mv ", ".broken"):
            assert dangerous not in refused.value.fix
    tracking.connect()
    mlflow.start_run()
    with locked(store):
        begun = time.monotonic()
        with pytest.raises(mlflow.MlflowException) as wrapped:
            mlflow.log_metric("a", 1.0)
        assert "locked by process" in tracking.explain(wrapped.value).cause
        in_vain = time.monotonic() - begun
        assert in_vain > 2
        with pytest.raises(mlflow.MlflowException, match="locked by process"):
            mlflow.end_run()
        assert time.monotonic() - begun - in_vain < 1, "who waited in vain waits no second time"
    assert "Traceback" not in capfd.readouterr().err


def test_waiting_answers_an_interrupt_at_once(root: Path) -> None:
    """For the store in the middle of a run, and for any lock of `exclusive`; MLflow's own wait takes 20 s."""
    tracking.connect()
    for wait in (lambda: mlflow.log_metric("a", 1.0), lambda: locking.exclusive(root / "thing").__enter__()):
        target = root / ("mlflow.db" if wait.__code__.co_names[0] == "mlflow" else "thing.lock")
        with mlflow.start_run(), locked(target) as holder:
            in_between(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
            begun = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                wait()
            assert time.monotonic() - begun < 1.5
            holder.kill()
            holder.wait()


def test_a_lock_file_that_nobody_holds_blocks_nobody(tmp_path: Path) -> None:
    with locked(tmp_path / "thing.lock"):
        pass  # and killed
    assert (tmp_path / "thing.lock").exists()
    begun = time.monotonic()
    with locking.exclusive(tmp_path / "thing"):
        assert time.monotonic() - begun < 1


def test_a_lock_of_an_earlier_release_is_waited_for_and_ours_holds_it_off(tmp_path: Path) -> None:
    """They lock NAME.lock by `BEGIN EXCLUSIVE`."""
    with (
        locking.exclusive(tmp_path / "thing"),
        closing(sqlite3.connect(tmp_path / "thing.lock", timeout=0)) as theirs,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        theirs.execute("BEGIN EXCLUSIVE")
    with locked(tmp_path / "thing.lock") as holder:
        timer = in_between(0.4, holder.kill)
        with locking.exclusive(tmp_path / "thing"):
            timer.join()


@pytest.mark.parametrize("content", [None, b"no database at all" * 99])
def test_a_lock_file_that_cannot_be_used_is_told(tmp_path: Path, content: bytes | None) -> None:
    lock = tmp_path / "my thing.lock"
    lock.mkdir() if content is None else lock.write_bytes(content)
    with pytest.raises(errors.ProjectError) as refused, locking.exclusive(tmp_path / "my thing"):
        pass
    assert shlex.quote(str(lock)) in refused.value.fix


# --- Making a store -------------------------------------------------------------
def test_a_disk_that_is_full_at_the_first_use_leaves_no_half_store(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(tmp_path / "bikes", monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk}/mlflow.db")
    with pytest.raises(errors.ProjectError) as refused:
        tracking.connect()
    assert "full" in refused.value.cause and "another MLflow" not in refused.value.cause
    assert "df -h" in refused.value.fix
    assert {path.name for path in small_disk.iterdir()} <= {"mlflow.db.lock"}
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert tracking.connect()


def test_a_half_made_store_of_an_earlier_release_is_told_as_such(root: Path) -> None:
    """As MLflow leaves it where the disk is full before the last of its migrations."""
    store = root / "mlflow.db"
    tracking.connect()
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        connection.execute("DELETE FROM experiment_tags")
        connection.execute("DELETE FROM experiments")
    before = store.read_bytes()
    with pytest.raises(errors.ProjectError, match=r"never finished.*no run in it") as refused:
        tracking.connect()
    assert "another MLflow" not in refused.value.cause
    assert store.read_bytes() == before
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("INSERT INTO experiments (experiment_id, name) VALUES (0, 'Default')")
    with pytest.raises(errors.ProjectError, match="another MLflow"):
        tracking.connect()


def test_a_folder_that_may_not_be_written_is_told(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(tmp_path / "bikes", monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk}/mlflow.db")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(errors.ProjectError, match=r"mlflow\.db") as refused:
        tracking.connect()
    assert refused.value.fix.startswith("ls -l")


@pytest.mark.parametrize(
    ("statement", "options", "fix"),
    [
        ("CREATE TABLE t (c)", "?mode=ro", "ls -ld"),
        ("PRAGMA max_page_count = 1; CREATE TABLE t (c); INSERT INTO t VALUES (zeroblob(9999))", "", "df -h"),
        ("SELECT * FROM sqlite_master", "", "backup"),
    ],
)
def test_what_sqlite_says_becomes_what_to_do(tmp_path: Path, statement: str, options: str, fix: str) -> None:
    path = tmp_path / "my store.db"
    path.write_bytes(b"no database" * 99 if fix == "backup" else b"")
    store = sqlite3.connect(path.as_uri() + options, uri=True)
    with closing(store), pytest.raises(errors.ProjectError) as refused:
        sqlite_connection.ask(path, lambda: store.executescript(statement))
    assert fix in refused.value.fix
    assert "delete" not in refused.value.fix and "rename" not in refused.value.fix


@pytest.mark.slow
def test_two_first_uses_at_once_share_one_store(root: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1] / 'scripts')!r})\n"
        "from pathlib import Path\nfrom harness import load\ntracking = load('store.tracking')\n"
        "tracking.ROOT = Path.cwd()\n"
        "tracking.options = lambda: {'experiment': 'bikes', 'tracking-uri': 'sqlite:///mlflow.db'}\n"
        "print('experiment', tracking.connect())\n"
    )
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]


# --- Where it lies --------------------------------------------------------------
@pytest.mark.parametrize("name", [ALL_NASTY, *(pytest.param(name, marks=pytest.mark.slow) for name in NASTY[:-1])])
def test_a_store_works_whatever_its_folder_is_called(
    tables: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name != ALL_NASTY:
        monkeypatch.setattr(sqlite, "create", lambda path, artifacts: shutil.copy(tables, path))
    for other in ("a b", "a%20b", "a%2520b"):
        (tmp_path / other).mkdir()
    (tmp_path / name).mkdir(exist_ok=True)
    root = use(tmp_path / name / "bikes", monkeypatch)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    tracking.connect()
    with mlflow.start_run() as run:
        mlflow.log_text("hello", "record/hello.txt")

    def read() -> str:
        found = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="record/hello.txt")
        return Path(found).read_text("utf-8")

    assert read() == "hello"
    assert list(root.glob("mlruns/*/artifacts/record/hello.txt"))
    assert mlflow.get_experiment_by_name(name).experiment_id == run.info.experiment_id
    assert {path.name for path in root.iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlruns"}
    assert {path.name for path in tmp_path.iterdir() if any(path.iterdir())} == {name}
    # What a child gets, and what a person may read in a message.
    assert tracking.store_uri() == os.environ["MLFLOW_TRACKING_URI"]
    assert sqlite.path_of(tracking.store_uri()) == root / "mlflow.db"
    assert str(root) in tracking.public(tracking.store_uri())

    moved = tmp_path / f"moved {name}" / "bikes"
    moved.parent.mkdir()
    monkeypatch.chdir(tmp_path)
    root.rename(moved)
    use(tmp_path / "again", monkeypatch)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    for module in (tracking, load("store.relocate")):
        monkeypatch.setattr(module, "ROOT", moved)
    with pytest.raises(errors.ProjectError, match="copied or moved"):
        tracking.connect()
    load("store.relocate").relocate()
    tracking.connect()
    assert read() == "hello"


# --- Experiments ----------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("name", ["bikes", "50% off #1 'x'"])
def test_a_deleted_experiment_is_told_with_the_command_that_restores_it(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    experiment_id = tracking.connect()
    mlflow.delete_experiment(experiment_id)
    with pytest.raises(errors.ProjectError, match="was deleted") as refused:
        tracking.connect()
    command = refused.value.fix.splitlines()[0]
    assert f"experiments restore -x {experiment_id}" in command
    subprocess.run(command, shell=True, check=True, cwd="/", capture_output=True)
    assert tracking.connect() == experiment_id


@pytest.mark.slow
# --- A whole project --------------------------------------------------------------
@pytest.mark.e2e
def test_a_project_works_whatever_its_folder_is_called(set_up: Callable[..., Project], tmp_path: Path) -> None:
    (tmp_path / "50% off a b").mkdir()
    project = clone(set_up("classification"), tmp_path / ALL_NASTY / "bikes")
    project.git("commit", "--quiet", "--no-verify", "--allow-empty", "--message", "Here")
    project.just("run", "--set", "model.n_estimators=2")
    [run] = mlflow.MlflowClient(sqlite.uri(project.path / "mlflow.db")).search_runs(["1"])
    assert run.info.status == "FINISHED"
    assert "identical" in project.just("reproduce", run.info.run_id).stdout
    assert {path.name for path in tmp_path.iterdir() if any(path.iterdir())} == {ALL_NASTY}
    moved = tmp_path / "now 100% elsewhere" / "bikes"
    moved.parent.mkdir()
    project.path.rename(moved)
    project.path = moved
    project.just("relocate")
    assert "all well" in project.just("doctor").stdout


@pytest.mark.e2e
def test_a_training_that_the_store_shuts_out_for_good_ends_on_one_screen_and_is_marked_by_the_doctor(
    project: Project, tmp_path: Path
) -> None:
    (project.path / "bikes/train.py").write_text(
        "import os, subprocess, sys\nimport mlflow\nfrom .reproducibility.store import sqlite_connection\n\n\n"
        "def train(settings, run):\n"
        "    sqlite_connection._limit[0], sqlite_connection.HURRY = 1.0, 0.2\n"
        "    command = [sys.executable, '-c', os.environ['HOLDER'], 'mlflow.db', 'EXCLUSIVE']\n"
        "    holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "    holder.stdout.readline()\n"
        "    mlflow.log_metric('loss', 1.0)\n",
        "utf-8",
    )
    said = refused(project.just("train", check=False, HOLDER=HOLDER))
    [holder] = {int(number) for number in re.findall(r"locked by process (\d+) ", said)}
    assert "could not be marked FAILED" in said
    os.kill(holder, signal.SIGKILL)
    [run] = project.runs()
    assert run.info.status == "RUNNING"
    assert f"{run.info.run_id} FAILED" in project.just("doctor", check=False).stdout
    assert [run.info.status for run in project.runs()] == ["FAILED"]
