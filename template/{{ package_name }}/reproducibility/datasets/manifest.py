"""The entries of data/datasets.yaml."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..common import digest, strict_yaml
from ..common.addresses import public
from ..common.errors import ProjectError
from ..common.files import write_whole
from ..common.project import ROOT, options
from . import folders, tables
from .folders import File

MANIFEST = ROOT / "data" / "datasets.yaml"
HEADER = """\
# What runs may read. Every run compares the digest before a row is read.
# Add or replace an entry with `just data-add`, check all with `just data-check`.
"""


@dataclass(frozen=True)
class Dataset:
    """One entry of data/datasets.yaml.

    Parameters
    ----------
    name : str
        What `run.dataset(name)` asks for.
    path : str
        Where the file or folder lies, relative to the project; with a data root, what is not there lies below that.
    digest : str
        "sha256:" and 64 hexadecimal digits, of the whole file; of a folder, of its listing.
    size : int
        In bytes.
    source : str
        Where it comes from; a URI that can be fetched is used to fetch it.
    licence : str
        Under which it may be used.
    read : dict of str to Any
        How a text table is written, as `pandas.read_csv` calls it; empty for UTF-8 with commas.
    files : int
        How many files a folder has; 0 for a file.
    archive : dict of str to Any
        Path, digest and size of the archive from which a folder is unpacked; empty for one that is as it is.
    """

    name: str
    path: str
    digest: str
    size: int
    source: str = "unknown"
    licence: str = "unknown"
    read: dict[str, Any] = field(default_factory=dict, hash=False)
    files: int = 0
    archive: dict[str, Any] = field(default_factory=dict, hash=False)
    file: Path = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find the place, which only a link or the data root has outside the project; look at `read`."""
        tables.require_known(self.read)
        if not Path(os.path.normpath(ROOT / self.path)).is_relative_to(ROOT):
            raise ProjectError(f"dataset {self.name!r}: {self.path} lies outside the project.", "just data-add PATH")
        object.__setattr__(self, "file", place_of(self.path).resolve())

    def entry(self) -> dict[str, Any]:
        """Give what stands in data/datasets.yaml and in records under the name: no password or token does."""
        keys = ("path", "digest", "size", "source", "licence")
        entry = {key: getattr(self, key) for key in keys} | {"source": public(self.source)}
        return entry | {key: getattr(self, key) for key in ("read", "files", "archive") if getattr(self, key)}

    @property
    def packed(self) -> Dataset | None:
        """The archive from which this folder is unpacked, as a file."""
        return Dataset(self.name, source=self.source, licence=self.licence, **self.archive) if self.archive else None

    @property
    def listing(self) -> Path:
        """Where the list of a folder's files lies: in the project, wherever the folder is."""
        return folders.listing_of(ROOT / self.path)

    def listing_of(self, place: Path) -> Path:
        """Say where the list lies that belongs to a copy of the folder, or to the folder itself."""
        return self.listing if place == self.file else folders.listing_of(place)

    def require_own(self) -> None:
        """Refuse to write where a link leads out of project and data root: it may be somebody's only copy.

        Raises
        ------
        ProjectError
            Also where the data root is not there.
        """
        if self.file.is_relative_to(ROOT):
            return
        root = data_root()
        if not root or not self.file.is_relative_to(root):
            raise ProjectError(
                f"dataset {self.name!r}: {self.path} leads to {self.file}, where nothing is written.",
                f"Put back there what is registered; or: rm {shlex.quote(self.path)} && just data-check --restore",
            )
        require_folder(root)

    def contents(self) -> dict[str, File]:
        """Give the registered files of a folder by path; a file is its own.

        Raises
        ------
        ProjectError
            If the listing is not the registered one.
        """
        if not self.files:
            return {"": File(self.digest, self.size)}
        if not digest.fits(self.listing, self.digest):
            raise ProjectError(
                f"dataset {self.name!r}: {self.listing.name} is not the list of files that was registered.",
                "just data-check --restore",
            )
        return folders.parse(self.listing.read_bytes())


def data_root() -> Path | None:
    """Give the folder outside the project in which datasets lie that are not in data/; None where there is none."""
    named = Path(options()["data"]) if (ROOT / "pyproject.toml").exists() else Path()
    if named == Path():
        return None
    if not named.is_absolute():
        raise ProjectError(f"the data root {named} in pyproject.toml is no absolute path.", 'data = "/mnt/data"')
    return named.resolve()


def require_folder(root: Path) -> None:
    """Refuse a data root that is not there, such as one that is not mounted."""
    if not root.is_dir():
        raise ProjectError(f"the data root {root}, of pyproject.toml, is not there.", f"Mount it; or: mkdir -p {root}")


def place_of(path: str) -> Path:
    """Say where an entry of this path lies, or is put: in the project, else below the data root."""
    relative = Path(os.path.normpath(path))
    if relative.parts[0] != "data" or os.path.lexists(ROOT / relative) or not (root := data_root()):
        return ROOT / relative
    return root / relative.relative_to("data")


def read_manifest() -> dict[str, Dataset]:
    """Read data/datasets.yaml.

    Raises
    ------
    ProjectError
        If the file is missing, is not YAML, or an entry lacks or misspells a key.
    """
    try:
        entries = strict_yaml.parse(MANIFEST.read_text("utf-8")) or {}
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
            f"just data-add PATH --name {shlex.quote(name)}",
        )
    return datasets[name]
