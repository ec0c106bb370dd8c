"""What goes wrong on a first day ends in one screen with a cause and a fix, and leaves nothing half-done."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from conftest import Project, refused

from harness import load

pytestmark = pytest.mark.e2e
QUICK = ("--set", "model.n_estimators=2")


def train(project: Project, *arguments: str, code: int = 3, **variables: str) -> str:
    """Train, which must be refused, and give the message."""
    return refused(project.just("train", *arguments, check=False, **variables), code)


# --- Conf and command line -----------------------------------------------------


@pytest.mark.slow
def test_a_conf_that_cannot_be_used_is_refused_with_the_place(project: Project) -> None:
    conf = project.path / "confs/train.yaml"
    good = conf.read_text("utf-8")

    def message(text: str) -> str:
        conf.write_text(text, "utf-8")
        return train(project)

    assert "line 3" in message("seed: 1\nthreads: 1\nmodel: {a: [}\n")
    assert "'seed' stands twice" in message(good + "seed: 7\n")
    assert "'max_depth' stands twice" in message(good + "  max_depth: 7\n")
    assert "typo" in message(good + "typo: 1\n").replace("settings.py", "")
    assert "model.typo" in message(good + "  typo: 1\n")
    assert "model.max_depth" in message(good.replace("max_depth: 8", "max_depth: deep"))
    assert "test_fraction" in message(good.replace("test_fraction: 0.25\n", ""))
    assert "`seed`" in message(good.replace("seed: 42\n", ""))
    assert "test_fraction" in message(good.replace("test_fraction: 0.25", "test_fraction: 1.5"))
    assert "list of `key: value`" in message("- seed\n")
    assert "list of `key: value`" in message("")
    conf.write_bytes(b"seed: \xff\n")
    assert "not valid YAML" in train(project)
    conf.unlink()
    assert "train.yaml" in train(project)
    assert "nowhere.yaml" in train(project, "--config", "nowhere.yaml")
    assert not (project.path / "mlflow.db").exists()  # not one of these began a run


def test_what_is_no_seed_is_refused(project: Project) -> None:
    for seed in ("-1", "true", "abc", "4294967296", "1.5", "null"):
        assert "`seed`" in train(project, "--set", f"seed={seed}")
    assert "`seed`" in train(project, "--seed", "abc")


def test_wrong_threads_and_wrong_usage_are_refused(project: Project) -> None:
    for threads in ("0", "-1", "true", "two"):
        assert "`threads`" in train(project, "--set", f"threads={threads}")
    for override in ("seed", "=3", "", "seed.x=3", "drop=[a"):
        train(project, "--set", override, code=64)
    train(project, "--unknown", code=64)
    assert "nosuch" in refused(project.run(".venv/bin/python", "-m", "bikes", "nosuch", check=False), 64)
    refused(project.run(".venv/bin/python", "-m", "bikes", "predict", check=False), 64)


def test_run_refuses_what_mlproject_does_not_name(project: Project) -> None:
    for arguments in (
        ["-e", "nosuch"],
        ["-e", "tests/conftest.py"],
        ["-P", "depth=3"],
        ["-P", "seed"],
        ["-P", "set='"],
        ["--seed", "x"],
    ):
        refused(project.just("run", *arguments, check=False), 64)
    assert "`seed`" in refused(project.just("run", "-P", "seed=-1", check=False))
    assert "`threads`" in refused(project.just("run", "--set", "threads=0", check=False))
    assert not (project.path / "mlflow.db").exists()


# --- Data that the training cannot take ----------------------------------------


@pytest.mark.slow
def test_data_that_does_not_fit_the_training_is_refused_by_name(project: Project, tmp_path: Path) -> None:
    cancer = pd.read_csv(project.path / "data/breast_cancer.csv")
    tables = {
        "one": cancer.assign(diagnosis="a"),
        "gaps": cancer.assign(diagnosis=[None, *cancer["diagnosis"][1:]]),
        "large": cancer.assign(colour=1e300),
    }
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        project.just("data-add", str(tmp_path / f"{name}.csv"))
    assert "one class alone" in train(project, "--set", "dataset=one")
    assert "1 of 569 rows" in train(project, "--set", "dataset=gaps")
    assert "colour in 569 of 569 rows" in train(project, "--set", "dataset=large")
    assert "no column nosuch" in train(project, "--set", "target=nosuch")
    assert "no dataset 'nosuch'" in train(project, "--set", "dataset=nosuch")
    assert {run.info.status for run in project.runs()} <= {"FAILED", "FINISHED"}
    assert sum(run.info.status == "FAILED" for run in project.runs()) == 5


@pytest.mark.slow
def test_a_regression_on_text_is_refused(regression_project: Project, tmp_path: Path) -> None:
    diabetes = pd.read_csv(regression_project.path / "data/diabetes.csv")
    diabetes.assign(progression="high").to_csv(tmp_path / "text.csv", index=False)
    regression_project.just("data-add", str(tmp_path / "text.csv"))
    assert "'progression' is not a number" in train(regression_project, "--set", "dataset=text")


# --- The store -----------------------------------------------------------------


def test_a_store_that_is_down_is_told_at_once_and_without_its_password(project: Project) -> None:
    started = time.monotonic()
    message = train(project, MLFLOW_TRACKING_URI="http://ada:s3cret@127.0.0.1:1")
    assert time.monotonic() - started < 60  # MLflow itself would retry for minutes
    assert "http://127.0.0.1:1" in message and "refused" in message and "s3cret" not in message
    assert not (project.path / "mlflow.db").exists()


@contextmanager
def serving(status: int) -> Iterator[str]:
    """Serve something on loopback that is no MLflow: it answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else status)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_refuses_is_told_without_its_password(project: Project, status: int) -> None:
    with serving(status) as address:
        message = train(project, MLFLOW_TRACKING_URI=f"http://ada:s3cret@{address}")
    assert address in message and "s3cret" not in message


@pytest.mark.slow
def test_a_store_of_another_schema_or_of_rubbish_is_refused_and_left_alone(project: Project) -> None:
    store = project.path / "mlflow.db"
    project.just("train", *QUICK)
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    before = store.read_bytes()
    assert "another MLflow" in train(project)
    assert "another MLflow" in refused(project.just("run", check=False))
    assert store.read_bytes() == before
    store.write_bytes(bytes(range(256)) * 40)
    assert "cannot be used" in train(project)
    assert "cannot be used" in refused(project.just("run", check=False))
    assert store.read_bytes() == bytes(range(256)) * 40
    assert "does not exist" in train(project, MLFLOW_TRACKING_URI="sqlite:////nowhere/at/all.db")


def test_a_full_disk_fails_the_run_and_leaves_nothing_half_written(project: Project, small_disk: Path) -> None:
    (project.path / "mlruns").symlink_to(small_disk)
    message = train(project)
    assert "No space left" in message
    assert [run.info.status for run in project.runs()] == ["FAILED"]

    predictions = small_disk / "predictions.csv"
    (project.path / "mlruns").unlink()
    project.just("train", *QUICK)
    run_id = project.runs()[0].info.run_id
    for file in small_disk.rglob("*"):
        if file.is_file():
            file.unlink()
    (small_disk / "ballast").write_bytes(bytes(190_000))
    done = project.just("predict", run_id, "data/breast_cancer.csv", "-o", str(predictions), check=False)
    assert "No space left" in refused(done)
    assert not predictions.exists() and not list(small_disk.glob("*.part"))


# --- Copied and moved ----------------------------------------------------------


def files_below(folder: Path) -> dict[str, float]:
    """Note every file's time, but for the environment, which the tests share."""
    return {str(file): file.lstat().st_mtime_ns for file in folder.rglob("*") if "__pycache__" not in file.parts}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["copied", "moved"])
def test_a_copied_or_moved_project_writes_nowhere_until_it_is_relocated(
    project: Project, tmp_path: Path, way: str
) -> None:
    project.just("train", *QUICK)
    [first] = project.runs()
    place = tmp_path / "another place"
    if way == "copied":
        shutil.copytree(project.path, place, symlinks=True)
    else:
        project.path.rename(place)
    before = files_below(project.path)
    other = Project(place)

    assert "just relocate" in train(other)
    assert "just relocate" in refused(other.just("run", check=False))
    assert len(other.runs()) == 1
    other.just("relocate")
    [backup] = place.glob("mlflow.db.before-relocation-*")
    with closing(sqlite3.connect(backup)) as connection:
        [[location]] = connection.execute("SELECT artifact_uri FROM runs").fetchall()
    assert location.startswith(project.path.as_uri())

    old = other.client().get_run(first.info.run_id)
    assert old.info.artifact_uri.startswith(place.as_uri())
    other.just("predict", first.info.run_id, "data/breast_cancer.csv", "-o", str(tmp_path / "predictions.csv"))
    other.just("train", *QUICK)
    newest = other.runs()[0]
    assert newest.info.artifact_uri.startswith(place.as_uri())
    assert other.client().list_artifacts(newest.info.run_id)
    assert files_below(project.path) == before
    assert "where it belongs" in other.just("relocate").stdout
    assert len(list(place.glob("mlflow.db.before-relocation-*"))) == 1


# --- The doctor ----------------------------------------------------------------


def doctor(project: Project, code: int, **variables: str) -> str:
    done = project.just("doctor", check=False, **variables)
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def ill(output: str) -> dict[str, str]:
    """Give what the doctor found, with the fixes."""
    lines = output.splitlines()
    found = {}
    for position, line in enumerate(lines):
        if line.startswith("FAIL "):
            assert lines[position + 1].startswith("     fix: "), line
            found[line.removeprefix("FAIL ")] = lines[position + 1].removeprefix("     fix: ")
    return found


def test_the_doctor_finds_a_set_up_project_well(project: Project) -> None:
    project.just("train", *QUICK)
    project.git("config", "core.hooksPath", ".githooks")
    output = doctor(project, 0)
    assert "all well" in output
    assert ill(output) == {}
    for part in ("git:", "uv:", "just:", "disk:", "commit:", ".venv:", "packages:", "locks", "data", "tracking:"):
        assert f"ok   {part}" in output


def test_the_doctor_blames_no_store_for_a_module_that_cannot_be_imported(project: Project) -> None:
    project.git("config", "core.hooksPath", ".githooks")
    train = project.path / "bikes" / "train.py"
    train.write_text(f"{train.read_text('utf-8')}\nimport no_such_module\n", "utf-8")
    [[found, fix]] = ill(doctor(project, 3)).items()
    assert found.startswith("confs/train.yaml: ModuleNotFoundError: No module named 'no_such_module'")
    assert f"{train}, line {len(train.read_text('utf-8').splitlines())}" in found
    assert fix.startswith("Mend that; just train")


@pytest.mark.slow
def test_the_doctor_sees_each_thing_that_is_wrong(project: Project, tmp_path: Path) -> None:
    def only_finding(what: str, fix: str, **variables: str) -> None:
        [[found, remedy]] = ill(doctor(project, 3, **variables)).items()
        assert what in found and fix in remedy, (found, remedy)

    project.git("config", "core.hooksPath", ".githooks")
    only_finding("PYTHONPATH", "unset PYTHONPATH", PYTHONPATH=str(tmp_path))
    only_finding("does not answer", "Start the server", MLFLOW_TRACKING_URI="http://127.0.0.1:1")

    (project.path / ".env").write_text("TOKEN=x\n")
    project.git("add", "--force", ".env")
    only_finding(".env", "git rm --cached")
    project.git("rm", "--quiet", "--cached", ".env")

    def with_change(name: str, old: str, new: str, what: str, fix: str) -> None:
        file = project.path / name
        content = file.read_bytes()
        text = content.decode()
        assert old in text
        file.write_text(text.replace(old, new, 1), "utf-8")
        only_finding(what, fix)
        file.write_bytes(content)

    with_change("pyproject.toml", '"click>=8.2"', '"click>=99"', "click", "just lock")
    with_change("data/breast_cancer.csv", "\n", "\n\n", "data/breast_cancer.csv", "just data-add")
    with_change("data/datasets.yaml", "size:", "sise:", "datasets.yaml", "git diff")
    with_change("confs/train.yaml", "seed: 42", "seed: -1", "it must be a whole number from 0", "--set seed")
    with_change("confs/train.yaml", "  max_depth:", "  max_dpeth:", "model.max_dpeth", "spelling")
    with_change("confs/train.yaml", "threads: 1\n", "", "threads", "")
    with_change("confs/train.yaml", "seed: 42", "seed: [", "YAML", "line")
    with_change("python_env.yaml", 'python: "3.11"', 'python: "3.12"', "wants 3.12", "just setup")
    (project.path / "mlflow.db").write_bytes(b"rubbish" * 1000)
    only_finding("is not a database", "backup")
    (project.path / "mlflow.db").unlink()

    project.git("config", "--unset", "core.hooksPath")
    only_finding("git hooks", "just setup")
    shutil.rmtree(project.path / ".git")
    only_finding("commit: none", "git init")


def test_the_doctor_works_where_uv_git_and_venv_are_missing(project: Project, tmp_path: Path) -> None:
    (project.path / ".venv").unlink()
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("just", "sh", "python3"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    found = ill(doctor(project, 3, PATH=str(folder)))
    assert found["uv: not on the PATH"] == load("common.uv").UV_FIX
    assert "git-scm" in found["git: not on the PATH"]
    assert any(fix == "just setup" for what, fix in found.items() if what.startswith(".venv"))


def test_the_doctor_runs_with_an_old_python(project: Project) -> None:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    old = sorted(root.glob("versions/3.9.*/bin/python"))
    if not old:
        pytest.skip("needs a Python 3.9 under $PYENV_ROOT/versions: pyenv install 3.9")
    project.git("config", "core.hooksPath", ".githooks")
    done = project.run(str(old[-1]), "-m", "bikes.reproducibility.cli.doctor", check=False)
    assert done.returncode == 0 and ill(done.stdout) == {}, done.stdout
    (project.path / ".venv").unlink()
    done = project.run(str(old[-1]), "-m", "bikes.reproducibility.cli.doctor", check=False)
    assert done.returncode == 3 and list(ill(done.stdout).values()) == ["just setup"], done.stdout


@pytest.mark.e2e
def test_a_conf_may_share_sections_and_an_override_reaches_only_its_own(project: Project) -> None:
    conf = project.path / "confs" / "train.yaml"
    conf.write_text(
        conf.read_text().replace("model:\n", "model: &base\n") + "other:\n  <<: *base\n  max_depth: 1\nalias: *base\n"
    )
    python = str(project.path / ".venv/bin/python")
    ask = "from pathlib import Path; from bikes.reproducibility import conf; import json; print(json.dumps(conf.load("
    read = json.loads(project.run(python, "-c", ask + "Path('confs/train.yaml'), ('alias.max_depth=9',))))").stdout)
    assert (read["model"]["max_depth"], read["other"]["max_depth"], read["alias"]["max_depth"]) == (8, 1, 9)


@pytest.mark.slow
@pytest.mark.e2e
def test_an_error_of_the_projects_own_code_keeps_its_traceback(project: Project) -> None:
    train = project.path / "bikes" / "train.py"
    train.write_text(train.read_text().replace("    def fit(", '    open("weather.csv")\n\n    def fit('))
    done = project.just("train", check=False)
    assert done.returncode == 3
    assert 'open("weather.csv")' in done.stdout and "Free disk space" not in done.stdout
    assert project.runs()[0].info.status == "FAILED"


@pytest.mark.e2e
def test_the_ui_refuses_a_port_that_is_in_use(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "just ui --port" in refused(project.just("ui", "--port", port, check=False))


@pytest.mark.e2e
def test_relocate_leaves_a_store_alone_that_is_not_the_projects_own(project: Project, tmp_path: Path) -> None:
    import mlflow

    shared = tmp_path / "shared.db"
    client = mlflow.MlflowClient(f"sqlite:///{shared}")
    client.create_experiment("theirs", "file:///home/colleague/mlruns")
    before = shared.read_bytes()
    refused(project.just("relocate", check=False, MLFLOW_TRACKING_URI=f"sqlite:///{shared}"))
    assert shared.read_bytes() == before


@pytest.mark.e2e
def test_a_justfile_that_cannot_read_the_package_says_so_and_runs_nothing(project: Project) -> None:
    pyproject = project.path / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("module-name", "module"))
    done = project.just("doctor", check=False)
    assert done.returncode != 0
    assert "module-name" in done.stdout and "sh:" not in done.stdout
