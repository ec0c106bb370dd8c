"""Addresses of data: what opens them is never kept, shown or logged."""

from __future__ import annotations

import base64
import dataclasses
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from conftest import Project, importing

from harness import load

addresses = load("common.addresses")
tracking = load("store.tracking")
GITHUB = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"
SECRET = "s3cr3t"

SECRETS = {
    f"https://ada:{SECRET}@host/x.csv": "https://host/x.csv",
    f"https://{SECRET}@host:8080/x.csv": "https://host:8080/x.csv",
    f"https://ada:a@{SECRET}@host/x.csv": "https://host/x.csv",
    f"https://ada:a/{SECRET}@host/x.csv": "https://***",
    f"https://ada:a#{SECRET}@host/x.csv": "https://***",
    f"https://ada:a?{SECRET}@host/x.csv": "https://***",
    f"https://[{SECRET}": "https://***",
    f"s3://AKIA:{SECRET}@bucket/x.csv": "s3://bucket/x.csv",
    f"https://host/x.csv?sig={SECRET}": "https://host/x.csv",
    f"https://host/x.csv?version=1&X-Amz-Signature={SECRET}": "https://host/x.csv",
    f"https://host/x.csv?a=1&accessToken={SECRET}": "https://host/x.csv",
    f"https://host/x.csv?{SECRET}": "https://host/x.csv",
    f"https://host/x.csv#{SECRET}": "https://host/x.csv",
    f"https://host/x.csv#access_token={SECRET}": "https://host/x.csv",
    f"https://ada.azurewebsites.net/api/rows?code={SECRET}": "https://ada.azurewebsites.net/api/rows",
    f"https://host/token/{SECRET}/x.csv": "https://host/token/***/x.csv",
    f"https://host/api-key/{SECRET}/x.csv": "https://host/api-key/***/x.csv",
    f"https://host/{GITHUB}/x.csv": "https://host/***/x.csv",
    f"https://host/x.csv?id={GITHUB}": "https://host/x.csv",
    "https://host/x.csv?id=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0": "https://host/x.csv",
    "https://host/1AbCdEf2GhIjKl3MnOpQr4StUv5/x.csv": "https://host/***/x.csv",
    "https://host/9f86d081884c7d659a2feaa0c55ad015/x.csv": "https://host/***/x.csv",
}
HARMLESS = [
    "data/x.csv",
    "/home/ada/x@2.csv",
    "C:\\data\\x.csv",
    "unknown",
    "runs:/0123456789abcdef0123456789abcdef/data/x.csv",
    "https://archive.ics.uci.edu/dataset/17/breast+cancer+wisconsin+diagnostic",
    "https://host/x.csv?version=1&format=csv",
    "https://host/x.csv?country_code=DE&encoding=utf-8",
    "https://dataverse.harvard.edu/api/access/datafile/:persistentId?persistentId=doi:10.7910/DVN/TDOAPG",
    "https://raw.githubusercontent.com/mwaskom/seaborn-data/2b29313169bf8dfa77d8dc930f7bd3eba559a906/iris.csv",
    "https://zenodo.org/records/3941811/files/BreastCancerWisconsinDiagnostic2020.csv",
    "https://host/Breast_Cancer_Wisconsin_2020_Q1.csv",
    "https://host/S2B_MSIL2A_20200101T101329_N0213_R022_T32TQM_20200101T121829.csv",
    "https://host/123e4567-e89b-12d3-a456-426614174000/x.csv",
    "https://host/blobs/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "https://registry.host/@scope/pkg/x@2.csv",
    "s3://bucket/2026/11/26/part-00000-of-00001.csv",
]


@pytest.mark.parametrize("address", SECRETS)
def test_what_opens_an_address_is_left_out(address: str) -> None:
    assert addresses.public(address) == SECRETS[address]
    assert addresses.public(SECRETS[address]) == SECRETS[address]
    for text in (f"cannot open {address}!", f"nonnumeric port: {address.rpartition('@')[0]!r}"):
        assert SECRET not in addresses.scrubbed(text, address) and GITHUB not in addresses.scrubbed(text, address)


@pytest.mark.parametrize("address", HARMLESS)
def test_other_addresses_stay_as_they_are(address: str) -> None:
    assert addresses.public(address) == address


STORES = {
    f"postgresql://db/x?user=ada&password={SECRET}": "postgresql://db/x",
    f"postgresql+psycopg2://ada:{SECRET}@db:5432/x?sslmode=require": "postgresql+psycopg2://db:5432/x?sslmode=require",
    f"mysql://ada:a/{SECRET}@db/x": "mysql://***",
    f"mssql://db/x?driver=ODBC+Driver+17+for+SQL+Server&PWD={SECRET}": "mssql://db/x",
    f"https://ada:{SECRET}@host:5000/mlflow": "https://host:5000/mlflow",
    f"sqlite:////home/ada/a b.db?key={SECRET}": "sqlite:////home/ada/a b.db",
    "sqlite:///mlflow.db": "sqlite:///mlflow.db",
    "databricks": "databricks",
    "databricks://profile": "databricks://profile",
    "databricks://scope:prefix": "databricks://scope:prefix",
    "/home/ada/mlruns": "/home/ada/mlruns",
    "file:///home/ada/mlruns": "file:///home/ada/mlruns",
    "git@github.com:ada/template.git": "git@github.com:ada/template.git",
}


@pytest.mark.parametrize("uri", STORES)
def test_of_a_stores_address_only_what_opens_it_is_left_out(uri: str) -> None:
    assert tracking.public(uri) == STORES[uri]


def test_an_address_without_its_user_leads_to_where_it_led() -> None:
    address = f"https://ada:{SECRET}@host:8080/simple/{GITHUB}/?sig=1#x"
    assert addresses.without_user(address) == f"https://host:8080/simple/{GITHUB}/?sig=1#x"
    assert addresses.without_user("/home/ada/x@2.csv") == "/home/ada/x@2.csv"


def test_what_is_percent_encoded_is_scrubbed_too() -> None:
    assert "p w" not in addresses.scrubbed("'p w' is wrong", "https://ada:p%20w@host/x.csv")


class Guarded(BaseHTTPRequestHandler):
    """Gives a table to whoever knows the password, or the signature; sends others on, or away."""

    seen: list[str]

    def do_GET(self) -> None:
        told = self.headers.get("Authorization", "")
        self.server.seen.append(f"{self.path} {told}")  # type: ignore[attr-defined]
        right = f"Basic {base64.b64encode(b'ada:s3cr3t@1').decode()}"
        content = b"a,b,y\n1,2,0\n3,4,1\n" * 1
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/x.csv")  # type: ignore[attr-defined]
            content = b""
        else:
            content = b"" if "empty" in self.path else content
            self.send_response(200 if told == right or SECRET in self.path else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def guarded() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def rendered(tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Import modules of a rendered project of this test's own."""
    with importing(tmp_path / "project", "addresses_under_test") as load:
        subprocess.run(["git", "init", "--quiet", str(tmp_path / "project")], check=True)
        yield load


def test_no_password_reaches_manifest_or_messages(
    rendered: Callable[[str], ModuleType],
    guarded: ThreadingHTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    host = f"127.0.0.1:{guarded.server_port}"
    register, manifest, retrieval = (rendered(f"datasets.{name}") for name in ("register", "manifest", "retrieval"))
    error = rendered("common.errors").ProjectError
    monkeypatch.setattr(rendered("datasets.copies"), "find", lambda _: None)
    given = {
        "withpassword": f"http://ada:{SECRET}%401@{host}/x.csv",
        "signed": f"http://{host}/x.csv?sig={SECRET}",
    }
    told = []
    for name, address in given.items():
        entry = register.add(address, name, None, None)
        assert entry.source == f"http://{host}/x.csv"
        entry.file.unlink()
        with pytest.raises(error, match="401") as caught:
            retrieval.restore(entry)
        assert "none is kept" in caught.value.fix
        told += [caught.value.cause, caught.value.fix]
    for address in (
        f"http://ada:{SECRET}@{host}/x.csv",
        f"http://ada:x/{SECRET}@{host}/x.csv",
        f"http://ada:{SECRET}@127.0.0.1:1/x.csv",
        f"http://{host}/x.zip?sig={SECRET}",
        f"http://127.0.0.1:1/x.csv?sig={SECRET}",
        f"http://{host}/empty.csv?sig={SECRET}",
        f"http://[{host}/x.csv?sig={SECRET}",
        f"s3://ada:{SECRET}@bucket/x.csv",
        f"ftp://ada:{SECRET}@host/x.csv",
    ):
        with pytest.raises(error) as caught:
            register.add(address, "other", None, None)
        told += [caught.value.cause, caught.value.fix]
    # Where somebody wrote the password into the manifest, it is used, and goes no further.
    entry = dataclasses.replace(entry, source=given["withpassword"])
    retrieval.restore(entry)
    assert entry.file.exists() and SECRET not in str(entry.entry())
    manifest.write_manifest({**manifest.read_manifest(), "signed": entry})
    told += [manifest.MANIFEST.read_text("utf-8"), *capfd.readouterr()]
    assert not [text for text in told if SECRET in text]

    guarded.seen.clear()  # type: ignore[attr-defined]
    with pytest.raises(error, match="401"):
        register.add(f"http://ada:{SECRET}%401@{host}/moved.csv", "moved", None, None)
    assert guarded.seen[1] == "/x.csv ", "the password went on to another host"  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.e2e
def test_no_password_reaches_record_or_store(project: Project, guarded: ThreadingHTTPServer) -> None:
    address = f"http://ada:{SECRET}%401@127.0.0.1:{guarded.server_port}/x.csv"
    assert SECRET not in project.just("data-add", address, "--name", "x").stdout
    manifest = project.path / "data/datasets.yaml"
    manifest.write_text(manifest.read_text().replace("http://127", "http://ada:s3cr3t%401@127"))
    (project.path / "data/x.csv").unlink()
    project.just("train", "--set", "dataset=x", "--set", "target=y", "--set", "test_fraction=0.5", check=False)
    assert (project.path / "data/x.csv").exists()
    project.just("data-add", "data/breast_cancer.csv")
    kept = [file for file in project.path.rglob("*") if file.is_file() and ".venv" not in file.parts]
    assert not [file for file in kept if SECRET.encode() in file.read_bytes()]
