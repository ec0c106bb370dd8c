"""What a container sees of this machine: data to read, what no commit has, and a store to write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..common.errors import ProjectError
from ..common.project import ROOT
from ..containers.start import PROJECT, Mount
from ..datasets import manifest
from ..source.snapshot import Source
from ..store import tracking

#: Folders of an image over which nothing can be put.
OF_THE_IMAGE = (PROJECT, Path("/opt/venv"), Path("/usr/bin"), Path("/etc"))


def inside(path: Path) -> Path:
    """Give the path that a file of this machine has in a container."""
    return PROJECT / path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def holds(code: Source, file: Path) -> bool:
    """Tell whether an image has a file of this machine."""
    return file.is_relative_to(ROOT) and file.relative_to(ROOT).as_posix() in code.blobs


def data(project: Path = ROOT) -> Iterator[Mount]:
    """Let a container read the data of a project: of this one, or of a checkout."""
    if (folder := project / "data").is_dir():
        yield Mount(folder, PROJECT / "data")
    outside = set()
    for entry in manifest.read_manifest().values():
        if not entry.file.is_relative_to(ROOT):  # a link leads there, or the data root: inside as here
            outside |= {entry.file} if project == ROOT and entry.file.exists() else set()
            continue
        path = entry.file.relative_to(ROOT)
        if path.parts[0] != "data" and (project / path).exists():
            yield Mount(project / path, PROJECT / path)
    yield from map(Mount, sorted(outside))


def left_out(code: Source) -> Iterator[Mount]:
    """Let a container read what of the project is in neither commit nor record."""
    for entry in code.left_out:
        if not Path(entry["path"]).is_absolute():
            yield Mount(code.root / entry["path"], PROJECT / entry["path"])


def store(artifacts: str) -> Iterator[Mount]:
    """Let a container write to a store that is a file, and to artifacts that are folders.

    Raises
    ------
    ProjectError
        If they lie where an image has something else.
    """
    database = tracking.database()
    folders = [database.parent] if database else []
    if artifacts.startswith(("file:", "/")) and (place := tracking.local_path(artifacts)):
        location = place.parents[1]  # of the experiment; those of a run are below
        location.mkdir(parents=True, exist_ok=True)
        folders += [location] if not any(location.is_relative_to(folder) for folder in folders) else []
    for folder in folders:
        if any(own.is_relative_to(folder) or folder.is_relative_to(own) for own in OF_THE_IMAGE):
            raise ProjectError(
                f"runs go to {folder}, and a container has the code of the project or the system there.",
                "Put the project, or the store (MLFLOW_TRACKING_URI), into another folder; or run without --container.",
            )
        yield Mount(folder, writable=True)
