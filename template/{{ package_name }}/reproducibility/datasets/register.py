"""Put a file, folder or URI into data/datasets.yaml."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common import digest, terminal
from ..common.addresses import public
from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.files import write_whole
from ..common.project import ROOT
from ..source.git import run_git
from . import archives, copies, download, folders, loading, manifest, origins, recognition, tables, verification
from .manifest import Dataset

#: What is larger stays out of git; a copy goes to the tracking store.
GIT_LIMIT = 10_000_000
#: What the listing of a folder is called until its entry is written.
LISTING = "listing"


def add(
    origin: str,
    name: str | None,
    source: str | None,
    licence: str | None,
    limit: int = GIT_LIMIT,
    read: Mapping[str, Any] | None = None,
    packed: bool = False,
) -> Dataset:
    """Register a dataset; it is copied under data/ unless it lies in the project already.

    Parameters
    ----------
    origin : str
        A path of a file or folder, an http(s) or s3 address, or `runs:/RUN_ID/path`.
    name : str, optional
        What `run.dataset(name)` and `run.path(name)` will ask for; the file's own name by default.
    source, licence : str, optional
        Where the data comes from and under which licence; kept from an entry of the same name.
    limit : int
        What has more bytes stays out of git.
    read : Mapping of str to Any, optional
        How a text table is written, as far as it is known; the rest is recognised.
    packed : bool, default False
        Take an archive for a file, and not for the folder that it holds.

    Returns
    -------
    Dataset
        The entry as written.

    Raises
    ------
    ProjectError
        If nothing is there, it is a table that could be read in two ways, or the name cannot be used. Nothing is
        changed then.
    """
    what = origins.Origin.of(origin, packed)
    name = name or re.sub(r"\W+", "_", what.name.removesuffix(what.suffix)).strip("_").lower()
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise ProjectError(f"{name!r} is no name for a dataset.", "--name with letters, digits and _", exit_code=USAGE)
    entries = manifest.read_manifest()
    former = entries.get(name)
    target = what.place if what.inside else manifest.place_of(f"data/{name}{what.suffix}")
    content = target.with_name(target.name[: -len(what.archive)]) if what.archive else target
    own = {manifest.place_of(one.path) for one in (former, former and former.packed) if one}
    for path in {target, content} - own - ({target} if what.inside else set()):
        if path.exists():
            raise ProjectError(f"{origins.named(path)} exists and is not this dataset's.", "--name another_name")

    if (root := manifest.data_root()) and target.is_relative_to(root):
        manifest.require_folder(root)
    with _scratch(target.parent) as scratch:
        label = public(origin)
        draft = unpacked = target if what.inside else scratch / target.name
        if what.remote:
            download.fetch(origin, draft)
        elif not what.inside:
            _copy(what.place, draft)
        about: dict[str, Any] = {}
        if what.archive:
            about["archive"] = {"path": origins.named(target), **_of_bytes(draft)}
            unpacked = scratch / "unpacked" / content.name
            archives.unpack(draft, unpacked, label)
        is_folder = unpacked.is_dir()
        about |= _of_folder(unpacked, label, scratch) if is_folder else _of_file(draft, label, what.name, read)
        entry = Dataset(
            name=name,
            path=origins.named(content),
            source=public(source or (origin if what.remote else former.source if former else "unknown")),
            licence=licence or (former.licence if former else "unknown"),
            **about,
        )
        _keep(entry, draft, scratch, limit)
        # First, so that the same command goes on where one was killed: then the place is this dataset's.
        manifest.write_manifest({**entries, name: entry})
        for made, place in {draft: target, unpacked: content}.items():
            if made != place:
                if place.is_dir():
                    place.replace(scratch / "former")
                made.replace(place)
        if is_folder:
            write_whole(entry.listing, (scratch / LISTING).read_bytes())
    return entry


def _keep(entry: Dataset, draft: Path, scratch: Path, limit: int) -> None:
    """Let git have the bytes of a dataset, or the tracking store a copy."""
    whole = entry.packed or entry
    contents = folders.parse((scratch / LISTING).read_bytes()) if whole.files else whole.contents()
    large = whole.size > limit
    outside = not whole.file.is_relative_to(ROOT)
    if large or outside or _git_ignores(whole.file / path for path in contents):  # git will not have these bytes
        with terminal.bar(f"keeping a copy of {whole.path}", whole.size) as bar:
            copies.keep(whole, draft, contents, scratch / LISTING, bar.update)
    _keep_out_of_git(ROOT / whole.path, large or outside)
    if entry.archive:
        _keep_out_of_git(ROOT / entry.path, True)


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """Give a folder on the disk of what it will hold, which is deleted whatever happens."""
    with tempfile.TemporaryDirectory(dir=beside, prefix=".fetch-", suffix=".part") as name:
        yield Path(name)


def _copy(place: Path, draft: Path) -> None:
    """Copy a file, or a folder without what is nobody's data; what links lead to is copied in their place."""
    if place.is_file():
        download.fetch(str(place), draft)
        return
    names = dict(folders.walk(place, folders.NO_DATA))
    with terminal.bar(f"copying {place}", sum(status.st_size for status in names.values() if status)) as bar:
        for path, status in names.items():
            target = draft / path
            (target.parent if status else target).mkdir(parents=True, exist_ok=True)
            if status:
                download.fetch(str(place / path), target)
                bar.update(status.st_size)


def _of_bytes(draft: Path) -> dict[str, Any]:
    """Say what an entry does of any file."""
    return {"digest": digest.of_file(draft), "size": draft.stat().st_size}


def _of_file(draft: Path, label: str, name: str, read: Mapping[str, Any] | None) -> dict[str, Any]:
    """Say what an entry does of a file; a table is read once, so that what cannot be is refused now, not by a run."""
    verification.refuse_pointer(draft, label)
    table = tables.suffix(name)
    if table in tables.TEXTS:
        how = recognition.recognise(draft, label, read)
        loading.read(draft, label, how)
        return {**_of_bytes(draft), "read": how}
    if table:
        loading.read(draft, label)
    return _of_bytes(draft)


def _of_folder(draft: Path, label: str, scratch: Path) -> dict[str, Any]:
    """Say what an entry does of a folder, and write its listing."""
    names = dict(folders.walk(draft))
    if nested := next((path for path in names if ".git" in path.split("/")), None):
        fix = "Give a folder of data alone, or the path of a copy outside the project, of which .git is left out."
        raise ProjectError(f"{label} holds a repository of its own: {nested}.", fix, exit_code=USAGE)
    size = sum(status.st_size for status in names.values() if status)
    with terminal.bar(f"hashing {label}", size) as bar:
        listing = folders.scan(draft, bar.update)
    files = sum(bool(file.digest) for file in listing.values())
    if not files:
        raise ProjectError(f"{label} has no files.", "Give a folder that has some.", exit_code=USAGE)
    for path in listing:
        if listing[path].digest and listing[path].size < verification.LARGEST_POINTER:
            verification.refuse_pointer(draft / path, f"{label}/{path}")
    (scratch / LISTING).write_bytes(folders.text(listing))
    return {"digest": digest.of_file(scratch / LISTING), "size": size, "files": files}


def _git_ignores(paths: Iterable[Path]) -> bool:
    """Tell whether git ignores any of these files."""
    names = b"".join(os.fsencode(path) + b"\0" for path in paths)
    try:
        return bool(run_git("check-ignore", "-z", "--stdin", text=names))
    except ProjectError:
        return False


def _keep_out_of_git(file: Path, out: bool) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)  # where the data root alone has it
    ignored = file.parent / ".gitignore"
    lines = ignored.read_text("utf-8").splitlines() if ignored.exists() else []
    line = f"/{file.name}"
    if out != (line in lines):
        kept = [*lines, line] if out else [other for other in lines if other != line]
        write_whole(ignored, "".join(f"{other}\n" for other in kept))
