"""From another clone, on another machine: with nothing but the repository's remote and the tracking server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, clone, refused
from test_interrupts import started, wait_for
from test_reproduce import SMALL
from test_run import free_port, listens

pytestmark = pytest.mark.e2e

PASSWORD = "correct-horse"


def postgres_programs() -> Path:
    """Find PostgreSQL's programs; install Debian's where there are none, or skip and say why."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            pytest.skip("SKIPPED LOUDLY: PostgreSQL is not here, and only root on Debian can have it installed")
        install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "postgresql"]
        for command in (["apt-get", "update", "--quiet"], install):
            done = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            )
            if done.returncode:
                pytest.skip(f"SKIPPED LOUDLY: PostgreSQL cannot be installed: {done.stderr[-300:]}")
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of this test's own, on loopback, behind a password; its URI."""
    programs, folder, port = postgres_programs(), Path("/tmp") / f"postgres-{os.getpid()}", free_port()
    folder.mkdir()
    password = folder / "password"
    password.write_text(PASSWORD)
    shutil.chown(folder, "postgres")
    shutil.chown(password, "postgres")

    def run(program: str, *arguments: str) -> None:
        with (folder / "output").open("w+") as output:  # not a pipe: the server would hold it open
            command = [str(programs / program), *arguments]
            who = {"user": "postgres", "group": "postgres", "extra_groups": []}
            done = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, **who)  # type: ignore[call-overload]
            output.seek(0)
            assert done.returncode == 0, output.read()

    data = str(folder / "data")
    run("initdb", "-D", data, "-A", "scram-sha-256", "-U", "mlflow", f"--pwfile={password}")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    try:
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        yield f"postgresql://mlflow:{PASSWORD}@127.0.0.1:{port}/postgres"
        run("pg_ctl", "-D", data, "-m", "fast", "stop")
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(database: str, set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server over HTTP, its database in PostgreSQL, its artifacts proxied; its address."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    with started(set_up("classification"), *command, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"):
        wait_for(lambda: listens("127.0.0.1", port), "the tracking server answers", 180)
        yield f"http://127.0.0.1:{port}"


def schema(database: str) -> Any:
    import psycopg

    with psycopg.connect(database) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' "
            "ORDER BY 1, 2"
        ).fetchall()


def test_from_another_clone_with_another_home_and_nothing_cached_a_run_is_identical(
    server: str, database: str, set_up: Callable[[str], Project], tmp_path: Path
) -> None:
    import mlflow

    first = clone(set_up("classification"), tmp_path / "first" / "bikes")
    remote = tmp_path / "bikes.git"
    first.git("init", "--quiet", "--bare", str(remote))
    first.git("remote", "add", "origin", str(remote))
    first.git("push", "--quiet", "origin", "HEAD:main")
    first.git("checkout", "--quiet", "-b", "work")
    (first.path / "bikes" / "helper.py").write_text("FACTOR = 2\n")
    first.git("add", "--all")
    first.git("commit", "--quiet", "--no-verify", "--message", "On a branch that will be gone")
    first.git("push", "--quiet", "origin", "work")
    (first.path / "bikes" / "helper.py").write_text("FACTOR = 3\n")  # uncommitted
    (first.path / "bikes" / "untracked.py").write_text("OFFSET = 1\n")
    train = first.path / "bikes" / "train.py"
    train.write_text(
        train.read_text("utf-8").replace("from . import f", "from . import helper, untracked\nfrom . import f")
    )
    done = first.just("train", *SMALL, MLFLOW_TRACKING_URI=server)
    run_id = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("run "))
    shutil.rmtree(first.path)
    first.run("git", "--git-dir", str(remote), "branch", "-D", "work", cwd=tmp_path)

    second = Project(tmp_path / "second" / "bikes")
    second.run("git", "clone", "--quiet", "--branch", "main", str(remote), str(second.path), cwd=tmp_path)
    (tmp_path / "home").mkdir()
    machine = {
        "HOME": str(tmp_path / "home"),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "MLFLOW_ENV_ROOT": str(tmp_path / "environments"),
    }
    second.just("setup", **machine)
    before = [
        second.git(*what)
        for what in (["status", "--porcelain"], ["remote", "-v"], ["for-each-ref"], ["worktree", "list"])
    ]
    index, tables = (second.path / ".git" / "index").read_bytes(), schema(database)
    done = second.just("reproduce", run_id, "--tracking-uri", server, **machine)
    assert "identical: every stage" in done.stdout

    client = mlflow.MlflowClient(server)
    original = client.get_run(run_id).data.tags
    assert original["repro.verdict"] == "identical"
    replayed = client.get_run(original["repro.verified_by"])
    assert replayed.data.tags["repro.reproduces"] == run_id
    assert "report.html" in {file.path for file in client.list_artifacts(replayed.info.run_id)}
    assert [
        second.git(*what)
        for what in (["status", "--porcelain"], ["remote", "-v"], ["for-each-ref"], ["worktree", "list"])
    ] == before
    assert (second.path / ".git" / "index").read_bytes() == index
    assert schema(database) == tables
    assert not (second.path / "mlflow.db").exists()


def test_a_server_that_is_down_is_named(project: Project) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    message = refused(project.just("reproduce", "0" * 32, "--tracking-uri", gone, check=False))
    assert gone in message
