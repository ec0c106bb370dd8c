"""A run on a team's server, executed again by another person: real HTTP, a real PostgreSQL, a real remote."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, clone, refused
from test_interrupts import started, wait_for
from test_run import free_port, listens
from test_steps import began, edit, into_steps, verdicts
from test_sweep_runs import conf as short_sweep

pytestmark = pytest.mark.e2e


@dataclass
class Server:
    """A tracking server on loopback: its database in PostgreSQL, its artifacts behind its own HTTP."""

    port: int
    database: str
    artifacts: Path
    process: subprocess.Popen[bytes]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        import mlflow

        return mlflow.MlflowClient(self.uri)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database itself, past MLflow."""
        import psycopg

        with psycopg.connect(self.database) as connection:
            return connection.execute(statement).fetchall()

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        import mlflow

        folder.mkdir(parents=True, exist_ok=True)
        return Path(
            mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=path, dst_path=str(folder), tracking_uri=self.uri
            )
        )


@pytest.fixture(scope="module")
def server(
    database: str, tmp_path_factory: pytest.TempPathFactory, set_up: Callable[[str], Project]
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with (folder / "log").open("wb") as log:
        port = free_port()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--backend-store-uri", database, "--workers", "1"]
        command += ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"]
        variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            set_up("classification")  # which the tests need, and which takes as long as the server's start
            wait_for(lambda: process.poll() is not None or listens("127.0.0.1", port), "the server answers")
            assert process.poll() is None, (folder / "log").read_text()
            yield Server(port, database, folder / "artifacts", process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)


def untouchable(project: Project, server: Server) -> dict[str, object]:
    """All that a reproduction must leave as it is: the person's repository, and the schema of the team's database."""
    git = project.path / ".git"
    # Without its locks `git status` does not itself refresh the index.
    status = project.run("git", "status", "--porcelain", GIT_OPTIONAL_LOCKS="0").stdout
    return {
        "status": status,
        "index": (git / "index").read_bytes(),
        "HEAD": (git / "HEAD").read_bytes(),
        "commit": project.git("rev-parse", "HEAD"),
        "refs": project.git("for-each-ref"),
        "objects": sorted(path.name for path in (git / "objects").rglob("*")),
        "remotes": project.git("remote", "-v"),
        "worktrees": project.git("worktree", "list"),
        "config": (git / "config").read_bytes(),
        "schema": server.query("SELECT version_num FROM alembic_version"),
        "files": sorted(path.name for path in project.path.iterdir()),
    }


def has(project: Project, commit: str) -> bool:
    return project.run("git", "cat-file", "-e", f"{commit}^{{commit}}", check=False).returncode == 0


def test_another_person_reproduces_a_run_of_uncommitted_work_from_the_server(
    server: Server, set_up: Callable[[str], Project], tmp_path: Path
) -> None:
    # Ada: pushes, works on a branch, trains with uncommitted work, and is gone.
    remote = (tmp_path / "team" / "bikes.git").as_uri()
    ada = clone(set_up("classification"), tmp_path / "ada" / "bikes")
    python_dir = ada.run("uv", "python", "dir").stdout.strip()
    ada.run("git", "init", "--quiet", "--bare", str(tmp_path / "team" / "bikes.git"))
    ada.git("remote", "add", "origin", remote)
    ada.git("push", "--quiet", "origin", "main")
    ada.git("checkout", "--quiet", "-b", "work")
    conf = ada.path / "confs" / "train.yaml"
    conf.write_text(conf.read_text("utf-8") + "# of the branch\n", "utf-8")
    ada.git("commit", "--quiet", "--no-verify", "--all", "--message", "Work")
    ada.git("push", "--quiet", "origin", "work")
    commit = ada.git("rev-parse", "HEAD")
    (ada.path / "bikes" / "factor.py").write_text("FACTOR = 2\n", "utf-8")
    train = ada.path / "bikes" / "train.py"
    source = train.read_text("utf-8").replace("from . import checks", "from . import factor, checks")
    source = source.replace('    run.stage("split"', '    run.stage("factor", factor.FACTOR)\n    run.stage("split"')
    train.write_text(source, "utf-8")
    assert ada.git("status", "--porcelain") == "M bikes/train.py\n?? bikes/factor.py"
    ada.just("train", MLFLOW_TRACKING_URI=server.uri)
    assert not (ada.path / "mlflow.db").exists()
    ada.git("push", "--quiet", "origin", "--delete", "work")
    shutil.rmtree(ada.path.parent)

    client = server.client()
    experiment = client.get_experiment_by_name("bikes")
    [original] = client.search_runs([experiment.experiment_id])
    run_id = original.info.run_id
    assert original.info.status == "FINISHED" and original.info.artifact_uri.startswith("mlflow-artifacts:")
    assert original.data.tags["repro.commit"] == commit and original.data.tags["repro.dirty"] == "true"
    assert server.query("SELECT run_uuid FROM runs") == [(run_id,)]
    assert list(server.artifacts.rglob(f"{run_id}/artifacts/record/uncommitted.patch"))

    # Bob: a new machine, as far as one machine can be another, and the run's ID.
    home = tmp_path / "bob"
    home.mkdir()
    machine = {
        "HOME": str(home),
        **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")},
        "UV_CACHE_DIR": str(home / "uv-cache"),
        "UV_PYTHON_INSTALL_DIR": python_dir,  # the interpreters are the machine's
        "MLFLOW_ENV_ROOT": str(home / "environments"),
    }
    # By its address: git would copy all objects of a plain path, those that no branch leads to as well.
    subprocess.run(["git", "clone", "--quiet", remote, str(home / "work")], check=True)
    bob = Project(home / "work")
    assert not has(bob, commit), "the clone must not have the commit, or nothing is fetched"
    bob.just("setup", **machine)
    assert not (home / "environments").exists()
    before = untouchable(bob, server)
    begun = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    done = bob.just("reproduce", run_id, "--tracking-uri", server.uri, check=False, **machine)
    assert done.returncode == 0, done.stdout
    assert "\nidentical: " in done.stdout, done.stdout
    assert untouchable(bob, server) == before
    assert before["status"] == "" and not has(bob, commit)
    assert not (bob.path / "mlflow.db").exists() and not (bob.path / "mlruns").exists()
    assert len(list((home / "environments").glob("mlflow-*/bin/python"))) == 1, "no environment was built"

    tags = client.get_run(run_id).data.tags
    assert tags["repro.verdict"] == "identical"
    assert datetime.datetime.fromisoformat(tags["repro.verified_at"]) >= begun
    [replay] = client.search_runs([experiment.experiment_id], f"tags.`repro.reproduces` = '{run_id}'")
    assert tags["repro.verified_by"] == replay.info.run_id != run_id
    assert replay.info.status == "FINISHED" and replay.info.artifact_uri.startswith("mlflow-artifacts:")
    assert replay.data.tags["repro.verdict"] == "identical"
    assert replay.data.tags["repro.result"] == original.data.tags["repro.result"]
    assert replay.data.metrics == original.data.metrics
    assert {run_id, replay.info.run_id} == {row[0] for row in server.query("SELECT run_uuid FROM runs")}
    assert "report.html" in {file.path for file in client.list_artifacts(replay.info.run_id)}
    page = server.download(replay.info.run_id, "report.html", tmp_path / "page").read_text("utf-8")
    assert run_id in page and "identical" in page

    records = [
        json.loads(
            server.download(run.info.run_id, "record/record.json", tmp_path / run.info.run_id).read_text("utf-8")
        )
        for run in (original, replay)
    ]
    assert "factor" in records[0]["stages"] and records[0]["stages"] == records[1]["stages"]
    assert records[0]["code"]["remote"] == remote and records[0]["code"]["branch"] == "work"
    assert records[0]["code"]["modules"] == records[1]["code"]["modules"]
    assert any("factor" in name for name in records[0]["code"]["modules"])
    assert records[0]["environment"]["lock"] == records[1]["environment"]["lock"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_pipeline_on_the_server_is_traced_and_proven_from_a_clone(
    server: Server, project: Project, tmp_path: Path
) -> None:
    store: dict[str, Any] = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_EXPERIMENT_NAME": "steps"}
    rows = '(run.folder / "notes" / "rows.txt").write_text(f"{len(table)}\\n")\n'
    edit(
        into_steps(project).path / "bikes/prepare.py", rows, f"{rows}    {rows.replace('rows.txt', 'Zeilen ü (1).txt')}"
    )
    project.commit()
    assert began(project.just("pipeline", **store).stdout).keys() == {"prepare", "train", "evaluate"}
    assert not (project.path / "mlflow.db").exists() and not (project.path / "mlruns").exists()
    project.git("clone", "--quiet", str(project.path), str(tmp_path / "other"))
    (tmp_path / "other" / ".venv").symlink_to(project.path / ".venv")
    other = Project(tmp_path / "other")
    assert began(other.just("pipeline", **store).stdout) == {}
    client = server.client()
    experiment = client.get_experiment_by_name("steps").experiment_id
    runs = {run.data.tags.get("repro.step", "pipeline"): run.info.run_id for run in client.search_runs([experiment])}
    told = other.just("lineage", "last", **store).stdout
    assert all(runs[step] in told for step in ("prepare", "train", "evaluate")) and "data breast_cancer" in told
    assert "lineage.png" in {file.path for file in client.list_artifacts(runs["evaluate"])}
    chain = other.just("reproduce", "last", "--chain", **store).stdout
    assert [*verdicts(chain).values()] == ["identical"] * 3
    assert client.get_run(runs["prepare"]).data.tags["repro.verdict"] == "identical"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_outlasts_a_server_that_is_away(server: Server, project: Project) -> None:
    store: dict[str, Any] = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_EXPERIMENT_NAME": "sweeps"}
    short_sweep(project, trials=6, batch=3)
    project.just("sweep", **store)
    client = server.client()
    experiment = client.get_experiment_by_name("sweeps").experiment_id

    def runs(tag: str) -> list[Any]:
        return list(client.search_runs([experiment], f"tags.`{tag}` LIKE '%'"))

    [whole] = runs("repro.sweep")
    with started(project, "just", "sweep", **store) as process:
        wait_for(lambda: process.poll() is not None or len(runs("repro.trial")) > 7, "trials go on", 300)
        os.killpg(server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(20)  # longer than a worker waits for an answer
        finally:
            os.killpg(server.process.pid, signal.SIGCONT)
        out = process.communicate(timeout=600)[0]
    assert process.returncode == 0, out
    sweeps = runs("repro.sweep")
    assert {run.data.tags["repro.result"] for run in sweeps} == {whole.data.tags["repro.result"]}
    assert len(sweeps) == 2 and len(runs("repro.trial")) == 12
    assert {run.info.status for run in client.search_runs([experiment])} == {"FINISHED"}


@pytest.mark.parametrize("state", ["down", "hangs"])
def test_a_server_that_does_not_answer_is_an_error_with_a_fix(server: Server, project: Project, state: str) -> None:
    uri = f"http://127.0.0.1:{free_port()}" if state == "down" else server.uri
    runs = server.query("SELECT count(*) FROM runs")
    if state == "hangs":
        os.killpg(server.process.pid, signal.SIGSTOP)
    try:
        done = project.just("reproduce", "0" * 32, "--tracking-uri", uri, check=False)
    finally:
        os.killpg(server.process.pid, signal.SIGCONT)
    assert f"the tracking server {uri} does not answer" in refused(done, 3)
    assert not (project.path / "mlflow.db").exists() and not (project.path / "mlruns").exists()
    assert project.git("status", "--porcelain") == ""
    assert server.query("SELECT count(*) FROM runs") == runs
