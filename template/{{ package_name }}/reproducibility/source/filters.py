"""What git's filters make of a file in a work tree: line ends, Git LFS and others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from ..common import digest
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from .git import EXACT, QUIET, git, run_git


def convert(path: str, wanted: str, target: Path, folder: Path, kept: Path) -> None:
    """Give a file the bytes that it had in the work tree, where those are not what git stores."""
    if digest.fits(kept, wanted):
        shutil.copyfile(kept, target)
        return
    said = ""
    try:
        for content in forms(f":{path}", folder):
            if digest.of_bytes(content) == wanted:
                target.write_bytes(content)
                return
    except ProjectError as error:
        said = f" {error.cause}"
    raise ProjectError(
        f"{path} cannot be had as the run had it: git stores it in another form, which its filter does not lead from."
        f"{said}",
        f"git lfs pull      or whatever gives {kept} its content; then try again.",
        CANNOT_BE_TRIED,
    )


def forms(name: str, folder: Path) -> Iterator[bytes]:
    """Give the content of a blob in each form that a work tree may have it in.

    Parameters
    ----------
    name : str
        What git calls it: a commit or nothing, a colon and a path.
    folder : Path
        The repository.

    Yields
    ------
    bytes
        As git stores it, with the line ends of Windows, and as its filters give it: Git LFS, for example.

    Raises
    ------
    ProjectError
        With git's own message, if there is no such blob or a filter fails.
    """
    blob = run_git("cat-file", "blob", name, folder=folder, variables=QUIET)
    yield blob
    yield blob.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield run_git("cat-file", "--filters", name, folder=folder, variables=QUIET, options=EXACT)


def committed_paths(folder: Path) -> set[str]:
    """Give the paths, relative to a folder, of the files that the last commit has in it; the folder may be gone."""
    here = next(place for place in (folder, *folder.parents) if place.is_dir())
    below = f"{folder.relative_to(here).as_posix()}/" if here != folder else ""
    listed = git("ls-tree", "-r", "-z", "--name-only", "HEAD", *([below] if below else []), folder=here)
    return {name.removeprefix(below) for name in (listed or "").split("\0") if name}


def committed(file: Path, wanted: str) -> bytes:
    """Give a file's bytes as the last commit has them: those of a digest, if any form of it has them.

    Raises
    ------
    ProjectError
        With git's own message, if the commit has not got the file, or a filter fails.
    """
    folder = next(place for place in file.parents if place.is_dir())  # which may be a submodule's
    content = b""
    for content in forms(f"HEAD:./{file.relative_to(folder).as_posix()}", folder):
        if digest.of_bytes(content) == wanted:
            break
    return content
