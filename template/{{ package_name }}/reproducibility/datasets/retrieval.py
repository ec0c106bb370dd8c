"""Get the registered bytes back, from wherever they still are."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ..common import digest, terminal
from ..common.addresses import public
from ..common.errors import ProjectError
from ..common.files import write_whole
from ..common.project import ROOT
from ..source.filters import committed, committed_paths
from . import archives, copies, folders
from .download import fetch
from .folders import File
from .manifest import Dataset
from .verification import is_pointer

#: So many files are fetched at once; a store elsewhere is waited for more than it works.
THREADS = 8
Result = TypeVar("Result")


def restore(dataset: Dataset) -> None:
    """Get a dataset's registered bytes: from the last commit, the tracking store's copy, or its source.

    What is in their place is kept beside it: as FILE.changed, or in FOLDER.changed.

    Raises
    ------
    ProjectError
        If none of them has the bytes.
    """
    dataset.require_own()
    obtain(dataset, dataset.file)


def obtain(dataset: Dataset, target: Path, projects: Iterable[Path] = ()) -> None:
    """Put a dataset's bytes somewhere, from wherever they can be had; nothing but these very bytes.

    Parameters
    ----------
    dataset : Dataset
        What is registered.
    target : Path
        The file or folder to make; one that is there is kept as FILE.changed, of a folder what differs.
    projects : iterable of Path
        Those that may have it, looked at before the last commit, the tracking store and the source.

    Raises
    ------
    ProjectError
        Naming all that was tried.
    """
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    places = [dataset.file if project == ROOT else project / dataset.path for project in projects]
    try:
        if dataset.files:
            packed = dataset.packed
            unpack = _once(lambda: _unpacked(packed, dataset, target, part, projects)) if packed else None
            _obtain_folder(dataset, target, part, places, unpack)
        else:
            _obtain_file(dataset, dataset.file, dataset.digest, _origins(dataset, places), part)
            _put(part, target)
    finally:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def _obtain_folder(
    dataset: Dataset, target: Path, draft: Path, places: list[Path], unpack: Callable[[], Path] | None
) -> None:
    """Get what of a folder is missing or changed, and only when all of it is there put it in its place."""
    draft.mkdir()
    listing = dataset.listing_of(target)

    def lists() -> Iterator[str]:
        yield from _origins(dataset, map(dataset.listing_of, places))
        if unpack:
            yield str(folders.listing_of(unpack()))

    if not digest.fits(listing, dataset.digest):
        _obtain_file(dataset, dataset.listing, dataset.digest, lists(), draft / "listing")
        _put_aside(listing)
        write_whole(listing, (draft / "listing").read_bytes())  # perhaps on another disk
    registered = folders.parse(listing.read_bytes())
    here = folders.scan(target) if target.is_dir() else {}
    missing = {path: file for path, file in registered.items() if here.get(path) != file}
    changed = [path for path in here if registered.get(path) != here[path]]
    _require_inside(target, [*missing, *changed])
    in_git = _once(lambda: committed_paths(dataset.file))
    stored = _once(lambda: copies.of_folder(dataset))

    def origins(path: str, file: File) -> Iterator[str]:
        yield from (str(place / path) for place in places)
        if unpack:  # only where nothing nearer has a file
            yield str(unpack() / path)
        if path in in_git():
            yield "git"
        if copy := stored().get(file.digest):
            yield copy
        if is_remote(dataset.source) and not dataset.archive:
            yield f"{dataset.source.rstrip('/')}/{path if dataset.source.startswith('runs:') else quote(path)}"

    def get(path: str) -> int:
        file, part = missing[path], draft / "files" / path
        part.parent.mkdir(parents=True, exist_ok=True)
        if file.digest:
            _obtain_file(dataset, dataset.file / path, file.digest, origins(path, file), part, one_of_many=True)
        else:
            part.mkdir(exist_ok=True)
        return file.size

    total = sum(file.size for file in missing.values())
    pool = ThreadPoolExecutor(THREADS)
    try:
        with terminal.bar(f"getting {dataset.path}", total) as bar:
            for size in pool.map(get, missing):
                bar.update(size)
    finally:
        pool.shutdown(cancel_futures=True)
    if not target.is_dir():  # at once: another process may wait for it
        _put(draft / "files", target)
        return
    aside = _aside(target)
    for path in changed:
        if here[path].digest:
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).replace(aside / path)
    for path, file in missing.items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.digest:
            (draft / "files" / path).replace(place)
        else:
            place.mkdir(exist_ok=True)


def _once(function: Callable[[], Result]) -> Callable[[], Result]:
    """Call a function when its result is first needed, in whichever thread, and never again."""
    lock, cached = threading.Lock(), functools.cache(function)

    def get() -> Result:
        with lock:
            return cached()

    return get


def _require_inside(target: Path, paths: Iterable[str]) -> None:
    """Refuse to write through a link: what it leads to may be somebody's only copy."""
    for folder in {(target / path).parent for path in paths}:
        leads = folder.resolve()
        if not leads.is_relative_to(target.resolve()):
            raise ProjectError(
                f"{folder.relative_to(target.parent)} differs, and a link leads there out of the folder, to {leads}.",
                "Put back what is there; or put a folder in the place of the link, then try again.",
            )


def _unpacked(packed: Dataset, dataset: Dataset, target: Path, draft: Path, projects: Iterable[Path]) -> Path:
    """Unpack the archive of a folder beside it, which is fetched first if it is not there; and list what it holds."""
    archive = packed.file if target == dataset.file else target.with_name(Path(packed.path).name)
    if not digest.fits(archive, packed.digest):
        obtain(packed, archive, projects)
    unpacked = draft / "archive" / target.name
    archives.unpack(archive, unpacked, packed.path)
    folders.listing_of(unpacked).write_bytes(folders.text(folders.scan(unpacked)))
    return unpacked


def _aside(target: Path) -> Path:
    return target.with_name(f"{target.name}.changed")


def _put(part: Path, target: Path) -> None:
    _put_aside(target)
    part.replace(target)


def _put_aside(target: Path) -> None:
    if target.exists():
        target.replace(_aside(target))


def _obtain_file(
    dataset: Dataset, own: Path, wanted: str, origins: Iterable[str], part: Path, one_of_many: bool = False
) -> None:
    """Get the bytes of a digest from the first origin that has them."""
    tried = []
    for origin in origins:
        try:
            if origin == "git":
                part.write_bytes(committed(own, wanted))
            else:
                fetch(origin, part, one_of_many)
        except ProjectError as error:
            tried.append(error.cause.rstrip("."))
            continue
        if digest.of_file(part) == wanted:
            return
        what = "a pointer of Git LFS" if is_pointer(part) else "other bytes or none"
        tried.append(f"{public(origin)} has {what}")
    shown = Path(dataset.path) / own.relative_to(dataset.file) if own.is_relative_to(dataset.file) else own.name
    raise ProjectError(
        f"dataset {dataset.name!r}: the registered bytes of {shown} were not found: {'; '.join(tried)}.",
        "Put it back from where it came, or accept another:\n"
        f"just data-add PATH --name {shlex.quote(dataset.name)}\n"
        "An address that wants a password or a signature is given with it: none is kept.",
    )


def _origins(dataset: Dataset, places: Iterable[Path]) -> Iterator[str]:
    """Name where a file may be, the nearest first; the store is asked only where nothing nearer has it."""
    yield from map(str, places)
    yield "git"
    copy = copies.find(dataset.digest)
    if copy:
        yield copy
    if not dataset.files:
        yield dataset.source


def is_remote(source: str) -> bool:
    """Tell whether a source is an address from which `fetch` gets a file on any machine."""
    return source.startswith("runs:/") or source.partition("://")[0].lower() in {"http", "https", "s3"}
