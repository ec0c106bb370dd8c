"""Put a file or URI into data/datasets.yaml."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..common import digest
from ..common.addresses import public
from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.files import absolute, write_whole
from ..common.project import ROOT
from ..common.scratch import temporary_folder
from ..source.git import git
from ..store import tracking
from . import download, loading, manifest, recognition, retrieval, tables, verification
from .manifest import Dataset

#: Larger files stay out of git; a copy goes to the tracking store.
GIT_LIMIT = 10_000_000


def add(
    origin: str,
    name: str | None,
    source: str | None,
    licence: str | None,
    limit: int = GIT_LIMIT,
    read: Mapping[str, Any] | None = None,
) -> Dataset:
    """Register a dataset; the file is copied under data/ unless it lies in the project already.

    Parameters
    ----------
    origin : str
        A path, an http(s) or s3 address, or `runs:/RUN_ID/path`.
    name : str, optional
        What `run.dataset(name)` will ask for; the file's own name by default.
    source, licence : str, optional
        Where the data comes from and under which licence; kept from an entry of the same name.
    limit : int
        Files of more bytes stay out of git.
    read : Mapping of str to Any, optional
        How a text table is written, as far as it is known; the rest is recognised.

    Returns
    -------
    Dataset
        The entry as written.

    Raises
    ------
    ProjectError
        If nothing is there, it is no table or could be read in two ways, or the name cannot be used. Nothing is
        changed then.
    """
    remote = "://" in origin or origin.startswith("runs:/")
    file_name = unquote(re.split("[?#]", origin)[0].rpartition("/")[2]) if remote else absolute(origin).name
    suffix = tables.suffix(file_name)
    if not suffix:
        shown = public(origin) if remote else repr(file_name)
        fix = "Convert it first. Text may be named .csv, .tsv or .txt, and packed: .csv.gz."
        raise ProjectError(f"{shown} is neither .csv nor .parquet.", fix, exit_code=USAGE)
    name = name or re.sub(r"\W+", "_", file_name[: -len(suffix)]).strip("_").lower()
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise ProjectError(f"{name!r} is no name for a dataset.", "--name with letters, digits and _", exit_code=USAGE)

    entries = manifest.read_manifest()
    former = entries.get(name)
    file = absolute(origin)
    if not remote and not file.is_file():
        raise ProjectError(f"{origin} does not exist.", "Check the path.", exit_code=USAGE)
    inside = not remote and file.is_relative_to(ROOT)
    target = file if inside else ROOT / "data" / f"{name}{suffix}"
    if not inside and target.exists() and (former is None or former.file != target):
        raise ProjectError(f"{target.relative_to(ROOT)} exists and is not this dataset's.", "--name another_name")

    with contextlib.nullcontext(file) if inside else _fetched(origin if remote else str(file), target) as draft:
        verification.refuse_pointer(draft, public(origin))
        entry = Dataset(
            name=name,
            path=target.relative_to(ROOT).as_posix(),
            digest=digest.of_file(draft),
            size=draft.stat().st_size,
            source=public(source or (origin if remote else former.source if former else "unknown")),
            licence=licence or (former.licence if former else "unknown"),
            read={} if suffix == tables.PARQUET else recognition.recognise(draft, public(origin), read),
        )
        # What cannot be read is refused now, not by the next run.
        loading.read(draft, public(origin), None if suffix == tables.PARQUET else entry.read)
        if entry.size > limit or git("check-ignore", "--", entry.path):  # git will not have these bytes
            _store_copy(entry, draft)
        _keep_out_of_git(entry, entry.size > limit)
        if draft != target:
            draft.replace(target)
    manifest.write_manifest({**entries, name: entry})
    return entry


@contextlib.contextmanager
def _fetched(origin: str, target: Path) -> Iterator[Path]:
    """Fetch to a folder beside the target, which is deleted whatever happens."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-", suffix=".part") as folder:
        draft = Path(folder) / target.name
        download.fetch(origin, draft)
        yield draft


def _keep_out_of_git(entry: Dataset, large: bool) -> None:
    ignored = entry.file.parent / ".gitignore"
    lines = ignored.read_text("utf-8").splitlines() if ignored.exists() else []
    line = f"/{entry.file.name}"
    if large != (line in lines):
        kept = [*lines, line] if large else [other for other in lines if other != line]
        write_whole(ignored, "".join(f"{other}\n" for other in kept))


def _store_copy(entry: Dataset, file: Path) -> None:
    """Keep a copy under its digest in the tracking store, so that these bytes can be had back later."""
    import mlflow

    if retrieval.stored_copy(entry.digest):
        return
    tracking.connect()
    with temporary_folder("register") as folder, mlflow.start_run(run_name=f"data: {entry.name}"):
        link = folder / entry.digest.removeprefix("sha256:")
        try:
            link.hardlink_to(file)
        except OSError:  # another disk
            download.fetch(str(file), link)
        mlflow.log_artifact(str(link), "data")
        mlflow.set_tag(retrieval.STORED_TAG, entry.digest)
