"""Runs on a tracking server: nothing of them stays here, and credentials are nowhere but in .env."""

from __future__ import annotations

import base64
import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, copy_project
from test_interrupts import wait_for
from test_run import free_port, listens

pytestmark = pytest.mark.e2e

USER, PASSWORD = "ada", "correct-horse-battery"
EXPECTED = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
#: Who may look at everything and write nothing.
READER = "bob"
READING = "Basic " + base64.b64encode(f"{READER}:{PASSWORD}".encode()).decode()


@dataclass
class Server:
    """A tracking server behind a door that asks for a password and counts who came."""

    port: int
    folder: Path
    door: int = 0
    let_in: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.door}"

    def runs(self) -> list[Any]:
        import mlflow

        client = mlflow.MlflowClient(f"http://127.0.0.1:{self.port}")
        experiment = client.get_experiment_by_name("bikes")
        return list(client.search_runs([experiment.experiment_id])) if experiment else []


def door(server: Server) -> ThreadingHTTPServer:
    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            who = self.headers.get("Authorization")
            if who not in {EXPECTED, READING}:
                server.refused.append(self.path)
                self.answer(401, [("WWW-Authenticate", "Basic")], b"who are you?")
                return
            if who == READING and self.command != "GET" and "search" not in self.path:
                server.refused.append(self.path)
                self.answer(403, [], b"Permission denied")
                return
            server.let_in.append(self.path)
            inside = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            kept = {name: value for name, value in self.headers.items() if name not in {"Host", "Authorization"}}
            inside.request(self.command, self.path, body, kept)
            answer = inside.getresponse()
            dropped = {"content-length", "transfer-encoding", "connection"}
            headers = [pair for pair in answer.getheaders() if pair[0].lower() not in dropped]
            self.answer(answer.status, headers, answer.read())
            inside.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_one

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Door)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    found = Server(free_port(), folder)
    log = (folder / "log").open("w")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(found.port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    proxy = door(found)
    found.door = proxy.server_address[1]
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        wait_for(lambda: process.poll() is not None or listens("127.0.0.1", found.port), "the server answers")
        assert process.poll() is None, (folder / "log").read_text()
        yield found
    finally:
        proxy.shutdown()
        proxy.server_close()
        os.killpg(process.pid, 15)
        process.wait(60)
        log.close()


@pytest.fixture
def project(server: Server, set_up: Any, tmp_path: Path) -> Project:
    project = Project(copy_project(tmp_path / "bikes", tracking="server", tracking_uri=server.uri))
    (project.path / ".venv").symlink_to(set_up("classification").path / ".venv")
    project.git("init", "--quiet")
    project.commit()
    return project


@pytest.mark.slow
def test_runs_go_to_the_server_and_credentials_nowhere(server: Server, project: Project) -> None:
    (project.path / ".env").write_text(f"MLFLOW_TRACKING_USERNAME={USER}\nMLFLOW_TRACKING_PASSWORD={PASSWORD}\n")
    before = len(server.runs())
    outputs = [project.just("train").stdout, project.just("run").stdout]
    runs = server.runs()
    assert [run.info.status for run in runs[: len(runs) - before]] == ["FINISHED", "FINISHED"]
    assert runs[0].data.tags["repro.result"] == runs[1].data.tags["repro.result"]
    assert runs[0].info.artifact_uri.startswith("mlflow-artifacts:")
    stored = {path.name for path in (server.folder / "artifacts").rglob("*")}
    assert {"record.json", "roc.png", "model.skops"} <= stored
    assert any("runs/create" in path for path in server.let_in)

    predicted = project.just(
        "predict", runs[0].info.run_id[:8], "data/breast_cancer.csv", "-o", str(server.folder / "out.csv")
    )
    assert not (project.path / "mlflow.db").exists()
    assert not (project.path / "mlruns").exists()
    assert project.git("status", "--porcelain") == "", ".env must be ignored, and nothing else be there"

    # To whom the server gives only reading.
    kept, refusals = [run.to_dictionary() for run in server.runs()], len(server.refused)
    reader = {"MLFLOW_TRACKING_USERNAME": READER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    done = project.just("reproduce", "last", **reader)
    assert "identical: every stage is equal" in done.stdout and "could not be kept in http" in done.stdout
    assert "Permission denied" in done.stdout and "kept as run" not in done.stdout
    assert "Traceback" not in done.stdout
    assert len(server.refused) > refusals
    assert [run.to_dictionary() for run in server.runs()] == kept
    outputs.append(done.stdout)

    secrets = [PASSWORD, EXPECTED.removeprefix("Basic ")]
    for secret in secrets:
        assert all(secret not in output for output in [*outputs, predicted.stdout])
        for folder in (project.path, server.folder):
            for file in folder.rglob("*"):
                if file.is_file() and file.name != ".env" and ".venv" not in file.parts:
                    assert secret.encode() not in file.read_bytes(), file


def test_a_server_that_refuses_is_an_error_with_a_fix(server: Server, project: Project) -> None:
    (project.path / ".env").write_text(f"MLFLOW_TRACKING_USERNAME={USER}\nMLFLOW_TRACKING_PASSWORD=wrong-secret\n")
    before = len(server.runs())
    done = project.just("train", check=False)
    assert done.returncode == 3, done.stdout
    assert "credentials" in done.stdout
    assert "wrong-secret" not in done.stdout
    assert "Traceback" not in done.stdout
    assert server.refused
    assert len(server.runs()) == before
    assert not (project.path / "mlflow.db").exists()
