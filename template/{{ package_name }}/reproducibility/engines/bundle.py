"""The code of the project, packed for the nodes of a cluster: commit, uncommitted work, lock; always the same bytes."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from ..common import digest
from ..common.errors import ProjectError
from ..containers.context import EPOCH, normalize
from ..source import handed
from ..source.capture import capture
from ..source.checkout import restore

#: In the archive: the project, and what its record says of where that comes from.
PROJECT, HANDED = "project", "handed"


def pack(folder: Path) -> Path:
    """Pack the project as it is now into an archive in a folder, and name that.

    Raises
    ------
    ProjectError
        If the code has files that are in neither commit nor record: no node could have them.
    """
    code = capture()
    if code.left_out:
        raise ProjectError(
            f"{code.left_out[0]['path']} is in neither commit nor record ({code.left_out[0]['why']}): no node has it.",
            "Commit it, or make it a dataset: just data-add FILE",
        )
    patches = {digest.of_bytes(patch): patch for patch in code.patches().values()}
    project = restore(code.content(), patches, folder / "tree")
    for place in [*project.rglob(".git"), project / ".env"]:
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink(missing_ok=True)
    normalize(project)
    (folder / HANDED).mkdir()
    handed.write(folder / HANDED, code)
    archive = folder / "bundle.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as written:
        for name, place in ((PROJECT, project), (HANDED, folder / HANDED)):
            for path in sorted(place.rglob("*")):
                written.add(path, f"{name}/{path.relative_to(place).as_posix()}", recursive=False, filter=_nobodys)
    return archive


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = EPOCH
    return entry
