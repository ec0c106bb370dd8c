"""The datasets of data/datasets.yaml: described, fetched, verified, read, logged."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shlex
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

import yaml

from . import conf, digest, tables
from .addresses import public, scrubbed, without_user
from .checkout import committed
from .project import ROOT, ProjectError, write_whole

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = ROOT / "data" / "datasets.yaml"
HEADER = """\
# What runs may read. Every run compares the digest before a row is read.
# Add or replace an entry with `just data-add`, check all with `just data-check`.
"""
#: Tag of the tracking run that keeps a copy of a dataset's bytes, found again by their digest.
STORED_TAG = "repro.stored_data"
#: How a file begins that Git LFS left in the place of the content.
POINTER = b"version https://git-lfs.github.com/spec/v1\n"


@dataclass(frozen=True)
class Dataset:
    """One entry of data/datasets.yaml.

    Parameters
    ----------
    name : str
        What `run.dataset(name)` asks for.
    path : str
        Where the file lies, relative to the project.
    digest : str
        "sha256:" and 64 hexadecimal digits, of the whole file.
    size : int
        In bytes.
    source : str
        Where it comes from; a URI that can be fetched is used to fetch it.
    licence : str
        Under which it may be used.
    read : dict of str to Any
        How a text table is written, as `pandas.read_csv` calls it; empty for UTF-8 with commas.
    """

    name: str
    path: str
    digest: str
    size: int
    source: str = "unknown"
    licence: str = "unknown"
    read: dict[str, Any] = field(default_factory=dict, hash=False)
    file: Path = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Resolve the path, which must stay inside the project, whoever wrote the entry; look at `read`."""
        tables.require_known(self.read)
        file = (ROOT / self.path).resolve()
        if not file.is_relative_to(ROOT):
            raise ProjectError(f"dataset {self.name!r}: {self.path} lies outside the project.", "just data-add FILE")
        object.__setattr__(self, "file", file)

    def entry(self) -> dict[str, Any]:
        """Give what stands in data/datasets.yaml and in records under the name: no password or token does."""
        keys = ("path", "digest", "size", "source", "licence")
        entry = {key: getattr(self, key) for key in keys} | {"source": public(self.source)}
        return entry | ({"read": self.read} if self.read else {})


def read_manifest() -> dict[str, Dataset]:
    """Read data/datasets.yaml.

    Raises
    ------
    ProjectError
        If the file is missing, is not YAML, or an entry lacks or misspells a key.
    """
    try:
        entries = conf.parse(MANIFEST.read_text("utf-8")) or {}
        return {name: Dataset(name=name, **entry) for name, entry in entries.items()}
    except ProjectError as error:
        raise ProjectError(f"data/datasets.yaml cannot be used: {error.cause}", error.fix) from error
    except (OSError, UnicodeError, TypeError, AttributeError) as error:
        raise ProjectError(f"data/datasets.yaml cannot be used: {error}.", "git diff data/datasets.yaml") from error


def write_manifest(datasets: dict[str, Dataset]) -> None:
    """Write data/datasets.yaml, wholly or not at all."""
    entries = {name: dataset.entry() for name, dataset in sorted(datasets.items())}
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=1000)
    write_whole(MANIFEST, HEADER + text)


def find(name: str) -> Dataset:
    """Look an entry up.

    Raises
    ------
    ProjectError
        If there is none of that name.
    """
    datasets = read_manifest()
    if name not in datasets:
        raise ProjectError(
            f"there is no dataset {name!r} in data/datasets.yaml; it has {', '.join(datasets) or 'none'}.",
            f"just data-add FILE --name {shlex.quote(name)}",
        )
    return datasets[name]


def verify(dataset: Dataset, progress: Callable[[int], object] | None = None) -> None:
    """Compare a file with its entry.

    Parameters
    ----------
    dataset : Dataset
        The entry.
    progress : callable, optional
        Called with the number of bytes after each piece that was hashed.

    Raises
    ------
    ProjectError
        Naming the dataset, what was expected and what was found, how to accept the file as it is now
        and how to get the old one back.
    """
    if not dataset.file.exists():
        raise ProjectError(
            f"dataset {dataset.name!r}: {dataset.path} is missing.",
            "just data-check --restore",
        )
    found = digest.of_file(dataset.file, progress)
    if found != dataset.digest:
        refuse_pointer(dataset.file, dataset.path)
        raise ProjectError(
            f"dataset {dataset.name!r}: {dataset.path} is not the file that was registered.\n"
            f"  expected {dataset.digest} ({dataset.size:,} bytes)\n"
            f"  found    {found} ({dataset.file.stat().st_size:,} bytes)",
            f"to accept it as it is now: just data-add {shlex.quote(dataset.path)} --name {shlex.quote(dataset.name)}\n"
            "to get the old one back:   just data-check --restore",
        )


def refuse_pointer(file: Path, label: str) -> None:
    """Refuse a file that only says where Git LFS keeps the content."""
    if is_pointer(file):
        raise ProjectError(
            f"{label} is a pointer of Git LFS; its content was not fetched.",
            "git lfs install && git lfs pull      in the repository that it comes from.",
        )


def is_pointer(file: Path) -> bool:
    """Tell whether a file only says where Git LFS keeps the content."""
    with file.open("rb") as stream:
        return stream.read(len(POINTER)) == POINTER


def require(name: str, patience: float = 0) -> Dataset:
    """Give a dataset whose file is there and is the registered one; fetch it if it is missing.

    Parameters
    ----------
    name : str
        The entry.
    patience : float, default 0
        For how many seconds to leave the fetching to another process.
    """
    dataset = find(name)
    deadline = time.monotonic() + patience
    while not dataset.file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    if not dataset.file.exists():
        restore(dataset)
    verify(dataset)
    return dataset


def read(file: Path, label: str | None = None, how: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Read a text or parquet file as a table.

    Parameters
    ----------
    file : Path
        The file; its suffix says which of the two it is.
    label : str, optional
        What an error calls it, by default its path.
    how : Mapping of str to Any, optional
        How a text table is written, as its entry says; recognised by default.

    Raises
    ------
    ProjectError
        If the file is neither, cannot be parsed, or could be read in more than one way.
    """
    import pandas as pd

    kind = tables.suffix(file.name)
    if not kind:
        raise ProjectError(f"{file.name} is neither .csv nor .parquet.", "Convert it first.", exit_code=64)
    try:
        refuse_pointer(file, label or str(file))
        if kind == tables.PARQUET:
            table = pd.read_parquet(file)
            if how is None and not table.columns.is_unique:
                raise ValueError("names stand twice")
            return table
        return tables.load(file, tables.recognise(file, label or file, nameless=True) if how is None else how)
    except tables.UNREADABLE as error:
        raise ProjectError(
            f"{label or file} cannot be read as a table: {error}.",
            "It must be a parquet file, or CSV with a line of column names and no more values than names in any row.\n"
            "Of a dataset: mend the file, then `just data-add FILE`, which finds out how it is written.",
        ) from error


def log(dataset: Dataset, table: pd.DataFrame) -> None:
    """Log a dataset as an input of the active run, with the digest of its full content.

    MLflow's own digest sees the first 10,000 rows only, and its column types cost a pass over every cell.
    """
    import mlflow
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.exceptions import MlflowException
    from mlflow.types import ColSpec, Schema

    # Not `resolve_dataset_source`, which warns that a path could be read in more than one way.
    source = get_dataset_source_from_json(json.dumps({"uri": dataset.file.as_uri()}), "local")
    schema = Schema([ColSpec(_mlflow_type(str(kind)), str(name)) for name, kind in table.dtypes.items()])
    short = dataset.digest.removeprefix("sha256:")[:36]  # MLflow takes 36 characters at most
    entry = MetaDataset(source, name=dataset.name, digest=short, schema=schema)
    tags = {"repro.digest": dataset.digest}
    try:
        mlflow.log_input(entry, context="training", tags=tags)
    except MlflowException:
        # Of two runs that log it first at one instant, MLflow lets one fail. By now it is there.
        mlflow.log_input(entry, context="training", tags=tags)


def restore(dataset: Dataset) -> None:
    """Get a dataset's registered bytes: from the last commit, the tracking store's copy, or its source.

    A file in their place is kept as FILE.changed.

    Raises
    ------
    ProjectError
        If none of them has the bytes.
    """
    obtain(dataset, dataset.file)


def obtain(dataset: Dataset, target: Path, folders: Iterable[Path] = ()) -> None:
    """Put a dataset's bytes somewhere, from wherever they can be had; nothing but these very bytes.

    Parameters
    ----------
    dataset : Dataset
        The entry.
    target : Path
        The file to make; one that is there is kept as FILE.changed.
    folders : iterable of Path
        Projects that may have the file, looked at before the last commit, the tracking store and the source.

    Raises
    ------
    ProjectError
        Naming all that was tried.
    """
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    tried = []
    try:
        for origin in _origins(dataset, folders):
            try:
                if origin == "git":
                    part.write_bytes(committed(dataset.file, dataset.digest))
                else:
                    fetch(origin, part)
            except ProjectError as error:
                tried.append(error.cause.rstrip("."))
                continue
            if digest.of_file(part) == dataset.digest:
                if target.exists():
                    target.replace(target.with_name(f"{target.name}.changed"))
                part.replace(target)
                return
            what = "a pointer of Git LFS" if is_pointer(part) else "other bytes or none"
            tried.append(f"{public(origin)} has {what}")
    finally:
        part.unlink(missing_ok=True)
    raise ProjectError(
        f"dataset {dataset.name!r}: the registered bytes of {dataset.path} were not found: {'; '.join(tried)}.",
        "Put the file back from where it came, or accept another:\n"
        f"just data-add FILE --name {shlex.quote(dataset.name)}\n"
        "An address that wants a password or a signature is given with it: none is kept.",
    )


def _origins(dataset: Dataset, folders: Iterable[Path]) -> Iterator[str]:
    """Name where the bytes may be, the nearest first; the store is asked only where nothing nearer has them."""
    yield from (str(folder / dataset.path) for folder in folders)
    yield "git"
    copy = stored_copy(dataset.digest)
    if copy:
        yield copy
    yield dataset.source


def stored_copy(content: str) -> str | None:
    """Find the tracking store's copy of these bytes, as a `runs:/` URI."""
    import mlflow

    from . import tracking

    experiment_id = tracking.connect()
    runs = mlflow.search_runs(
        [experiment_id], f"tags.`{STORED_TAG}` = '{content}' and attributes.status = 'FINISHED'", output_format="list"
    )
    return f"runs:/{runs[0].info.run_id}/data/{content.removeprefix('sha256:')}" if runs else None


def is_remote(source: str) -> bool:
    """Tell whether a source is an address from which `fetch` gets a file on any machine."""
    return source.startswith("runs:/") or source.partition("://")[0].lower() in {"http", "https", "s3"}


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

    from . import tracking

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


def _mlflow_type(dtype: str) -> str:
    if dtype.startswith(("int", "uint", "Int", "UInt")):
        return "long"
    names = {"float": "double", "bool": "boolean", "datetime": "datetime"}
    return next((name for prefix, name in names.items() if dtype.lower().startswith(prefix)), "string")
