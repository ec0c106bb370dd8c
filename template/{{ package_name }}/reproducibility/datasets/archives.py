"""Archives: what is in them, unpacked where nothing of it leads elsewhere."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

from ..common.errors import ProjectError
from .folders import NO_DATA

ENDINGS = (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz")
#: What a broken or strange archive raises.
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)


def ending(name: str) -> str:
    """Give the part of a file's name that says what kind of archive it is, such as ".tar.gz"; empty if it is none."""
    return next((one for one in ENDINGS if name.lower().endswith(one)), "")


def unpack(archive: Path, folder: Path, label: str) -> None:
    """Unpack an archive into a new folder.

    Parameters
    ----------
    archive : Path
        The file.
    folder : Path
        Where to; it is made.
    label : str
        What an error calls the archive.

    Raises
    ------
    ProjectError
        If it cannot be read, wants a password, is larger than the disk has room for, or something in it leads out of
        the folder.
    """
    folder.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        else:
            with tarfile.open(archive) as tar:
                members = [member for member in tar if _is_data(member.name)]
                _require_room(sum(member.size for member in members), folder)
                tar.extractall(folder, members, filter="data")
    except UNREADABLE as error:
        raise ProjectError(
            f"{label} cannot be unpacked: {error}.",
            "Look into it by `unzip -l` or `tar -tf`; or register it as it is: just data-add … --packed",
        ) from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        entries = [entry for entry in packed.infolist() if _is_data(entry.filename)]
        _require_room(sum(entry.file_size for entry in entries), folder)
        for entry in entries:
            # `extract` would silently take what leads out for something else.
            if entry.filename.startswith("/") or ".." in entry.filename.split("/"):
                raise ValueError(f"{entry.filename!r} leads out of it")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise ValueError(f"{entry.filename!r} is a link")
            packed.extract(entry, folder)


def _is_data(name: str) -> bool:
    return NO_DATA.isdisjoint(name.split("/"))


def _require_room(size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ValueError(f"it holds {size:,} bytes, and the disk has room for {free:,}")
