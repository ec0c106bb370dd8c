"""Copy a file from wherever an address says."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from ..common import digest, terminal
from ..common.addresses import public, scrubbed, without_user
from ..common.errors import ProjectError
from ..common.files import clone
from ..common.project import ROOT
from ..store import tracking
from . import web_index

#: How often a server is asked again that breaks off, or answers with one of these codes: after 0, 0.6 and 1.2 seconds.
RETRIES, BACKOFF, TEMPORARY = 3, 0.3, (500, 502, 503, 504)
#: Seconds to wait for a connection, and for each piece of the answer.
TIMEOUT = (10, 60)


def fetch(origin: str, target: Path, one_of_many: bool = False) -> None:
    """Copy a file, or a folder of elsewhere, from wherever a URI says, to a path.

    Parameters
    ----------
    origin : str
        A path of a file, an http(s) or s3 address, or a `runs:/RUN_ID/path` of the tracking store. An http(s) address
        that ends in a slash is a folder, whose files are those that its page has links to.
    target : Path
        Where to; overwritten.
    one_of_many : bool, default False
        Whether it is one file of a folder: nobody asks what it is, and it has no progress of its own.

    Raises
    ------
    ProjectError
        If nothing can be had from there.
    """
    scheme = origin.partition(":")[0].lower() if "://" in origin or origin.startswith("runs:/") else ""
    try:
        if scheme in {"http", "https"} and origin.endswith("/"):
            for path, address in dict(web_index.files(origin, functools.partial(_page, target))).items():
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                _download(address, target / path, one_of_many=True)
        elif scheme in {"http", "https"}:
            _download(origin, target, one_of_many)
        elif scheme in {"runs", "s3"}:
            _download_artifact(origin, target, scheme, one_of_many)
        elif scheme:
            raise ProjectError(f"{scheme}:// cannot be fetched.", "Give a path or an http(s), s3 or runs:/ address.")
        else:
            clone(ROOT / origin, target)
    except (OSError, ValueError) as error:
        root = _root_cause(error)
        why = getattr(root, "strerror", None) or root
        raise ProjectError(
            f"{public(origin)} cannot be fetched: {scrubbed(str(why), origin)}.",
            "Check the address or path, then try it again.",
        ) from None  # the cause may name a password


def _page(target: Path, address: str) -> str:
    """Give the page of an address."""
    part = target.with_name("index.html")
    _download(address, part)
    return part.read_text("utf-8", "replace")


def _root_cause(error: BaseException) -> BaseException:
    """Find what went wrong below the layers of a library that wrapped it."""
    while below := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = below
    given = error.args[-1] if error.args else None  # urllib3 names some causes so alone
    return given if isinstance(given, BaseException) else error


def _download(address: str, target: Path, one_of_many: bool = False) -> None:
    import requests
    from requests.adapters import HTTPAdapter
    from requests.auth import HTTPBasicAuth
    from urllib3.exceptions import HTTPError
    from urllib3.util import Retry

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a warning of it names the whole address
    user, _, password = urlsplit(address).netloc.rpartition("@")[0].partition(":")
    certificates = ssl.get_default_verify_paths()
    retries = Retry(
        RETRIES,
        backoff_factor=BACKOFF,
        status_forcelist=TEMPORARY,
        raise_on_status=False,
        respect_retry_after_header=False,  # it may say hours
    )
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        answer = session.get(
            without_user(address),
            auth=HTTPBasicAuth(unquote_to_bytes(user), unquote_to_bytes(password)) if user else None,
            headers={"Accept-Encoding": "identity"},  # the file as it is
            stream=True,
            timeout=TIMEOUT,
            verify=os.environ.get("REQUESTS_CA_BUNDLE") or certificates.cafile or certificates.capath or True,
        )
        if not answer.ok:
            raise OSError(f"HTTP Error {answer.status_code}: {answer.reason}")
        size = int(answer.headers.get("Content-Length") or 0)
        progress = terminal.bar(f"fetching {public(address)}", size, hidden=one_of_many)
        with target.open("wb") as file, progress as bar:
            try:
                for piece in answer.raw.stream(digest.CHUNK, decode_content=False):
                    file.write(piece)
                    bar.update(len(piece))
            except HTTPError:
                raise OSError(f"the connection ended after {file.tell():,} of {size:,} bytes") from None


def _download_artifact(origin: str, target: Path, scheme: str, one_of_many: bool) -> None:
    import mlflow

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
    folder = target.with_suffix(".download.part")
    try:
        if one_of_many:
            parent, _, name = origin.rpartition("/")
            _repository(parent)._download_file(name, str(target))
            return
        if scheme == "runs":
            tracking.connect()
        found = Path(mlflow.artifacts.download_artifacts(origin, dst_path=str(folder)))
        found.replace(target)
    except (ProjectError, OSError):
        raise
    except Exception as error:  # every kind of store has its own
        raise ProjectError(
            f"{public(origin)} cannot be fetched: {scrubbed(str(error), origin)}",
            "Check the run ID and the path in it.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _repository(folder: str) -> Any:
    """Give MLflow's access to a folder of artifacts, which asks the store where that is: once for all files."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if folder.startswith("runs:"):
        tracking.connect()
    return get_artifact_repository(folder)
