"""Copy a file from wherever an address says."""

from __future__ import annotations

import base64
import http.client
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from ..common import digest
from ..common.addresses import public, scrubbed, without_user
from ..common.errors import ProjectError
from ..common.project import ROOT


def fetch(origin: str, target: Path) -> None:
    """Copy a file, from wherever a URI says, to a path.

    Parameters
    ----------
    origin : str
        A path, an http(s) or s3 address, or a `runs:/RUN_ID/path` of the tracking store.
    target : Path
        Where to; overwritten.

    Raises
    ------
    ProjectError
        If nothing can be had from there.
    """
    scheme = origin.partition(":")[0].lower() if "://" in origin or origin.startswith("runs:/") else ""
    try:
        if scheme in {"http", "https"}:
            with urllib.request.urlopen(_request(origin), timeout=60) as answer, target.open("wb") as file:  # noqa: S310
                _copy(answer, file, int(answer.headers.get("Content-Length") or 0), public(origin))
        elif scheme in {"runs", "s3"}:
            _download_artifact(origin, target, scheme)
        elif scheme:
            raise ProjectError(f"{scheme}:// cannot be fetched.", "Give a path or an http(s), s3 or runs:/ address.")
        else:
            shutil.copyfile(ROOT / origin, target)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why: object = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        if isinstance(error, urllib.error.HTTPError):
            why = error
        raise ProjectError(
            f"{public(origin)} cannot be fetched: {scrubbed(str(why), origin)}.",
            "Check the address or path, then try it again.",
        ) from None  # the cause may name a password


def _request(address: str) -> urllib.request.Request:
    """Send user name and password as a header, to that host alone: urllib takes them for a part of its name."""
    user = urlsplit(address).netloc.rpartition("@")[0]
    request = urllib.request.Request(without_user(address))  # noqa: S310 - which sends no fragment
    if user:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(unquote_to_bytes(user)).decode()}")
    return request


def _download_artifact(origin: str, target: Path, scheme: str) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    from ..store import tracking

    if scheme == "s3":
        if "@" in urlsplit(origin).netloc:
            raise ProjectError(
                "an s3:// address has no place for keys.", "AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… just data-add …"
            )
        try:
            import boto3  # noqa: F401
        except ImportError as error:
            raise ProjectError(
                "s3:// needs boto3, which is not among this project's dependencies.",
                'Add "boto3" to `dependencies` in pyproject.toml, then `just lock && just setup`.',
            ) from error
    else:
        tracking.connect()
    folder = target.with_suffix(".download.part")
    try:
        found = Path(mlflow.artifacts.download_artifacts(origin, dst_path=str(folder)))
        found.replace(target)
    except MlflowException as error:
        raise ProjectError(
            f"{public(origin)} cannot be fetched: {scrubbed(str(error), origin)}",
            "Check the run ID and the path in it.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(answer: Any, file: Any, size: int, label: str) -> None:
    import click

    with click.progressbar(length=size, label=f"fetching {label}") as bar:
        while piece := answer.read(digest.CHUNK):
            file.write(piece)
            bar.update(len(piece))
    if size and file.tell() != size:  # urllib takes a connection that broke for the end of the file
        raise OSError(f"the connection ended after {file.tell():,} of {size:,} bytes")
