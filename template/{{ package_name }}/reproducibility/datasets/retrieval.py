"""Get the registered bytes back, from wherever they still are."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..common import digest
from ..common.addresses import public
from ..common.errors import ProjectError
from ..source.filters import committed
from .download import fetch
from .manifest import Dataset
from .verification import is_pointer

#: Tag of the tracking run that keeps a copy of a dataset's bytes, found again by their digest.
STORED_TAG = "repro.stored_data"


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
        What is registered.
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

    from ..store import tracking

    experiment_id = tracking.connect()
    runs = mlflow.search_runs(
        [experiment_id], f"tags.`{STORED_TAG}` = '{content}' and attributes.status = 'FINISHED'", output_format="list"
    )
    return f"runs:/{runs[0].info.run_id}/data/{content.removeprefix('sha256:')}" if runs else None


def is_remote(source: str) -> bool:
    """Tell whether a source is an address from which `fetch` gets a file on any machine."""
    return source.startswith("runs:/") or source.partition("://")[0].lower() in {"http", "https", "s3"}
