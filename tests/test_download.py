"""Downloads: a server that is ill for a moment is asked again, and what fails for good says why in one line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness import load

download = load("datasets.download")
ProjectError = load("common.errors").ProjectError
CONTENT = b"a,b\n1,2\n"


class Ailing(BaseHTTPRequestHandler):
    """Fails as often as the path says, by its code or, where that is 0, by hanging up; then gives a table."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Accept-Encoding", ""))
        times, code = (int(part) for part in self.path.split("/")[1:3])
        if len(self.asked) <= times:
            self.close_connection = True
            if code:
                self.send_response(code)
                self.send_header("Retry-After", "3600")
                self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("Content-Encoding", "gzip")  # of a packed file, some say so: its bytes are meant all the same
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(download, "BACKOFF", 0)
    monkeypatch.setattr(Ailing, "asked", [], raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Ailing) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{started.server_port}"
        started.shutdown()


@pytest.mark.parametrize("code", [0, 500, 503])
def test_a_server_that_fails_twice_is_asked_again(code: int, server: str, tmp_path: Path, capfd: Any) -> None:
    download.fetch(f"{server}/2/{code}/x.csv?sig=s3cr3t", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_bytes() == CONTENT
    assert Ailing.asked == ["identity"] * 3
    assert "s3cr3t" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("path", "tries", "why"),
    [
        ("9/503", 4, "HTTP Error 503: Service Unavailable"),
        ("9/404", 1, "HTTP Error 404: Not Found"),
        ("9/0", 4, "Remote end closed connection without response"),
    ],
)
def test_what_fails_for_good_is_told_in_one_line(path: str, tries: int, why: str, server: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        download.fetch(f"{server}/{path}/x.csv?sig=s3cr3t", tmp_path / "x.csv")
    assert caught.value.cause == f"{server}/{path}/x.csv cannot be fetched: {why}."
    assert len(Ailing.asked) == tries


def test_nobody_there_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF", 0)
    with pytest.raises(ProjectError) as caught:
        download.fetch("http://127.0.0.1:1/x.csv", tmp_path / "x.csv")
    assert caught.value.cause == "http://127.0.0.1:1/x.csv cannot be fetched: Connection refused."
