"""The modules of the harness, as the template's repository has them: they are copied as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from .git import run_git
from .template import Template

#: Where they are, in the template and in a project.
HARNESS = "/reproducibility/"


def list_modules(source: Template, commit: str, package: str) -> dict[str, set[str]]:
    """List the modules of a version.

    Parameters
    ----------
    source : Template
        The template.
    commit : str
        The version.
    package : str
        The name of a project's package.

    Returns
    -------
    dict
        By its path in the project, git's names of what a module is: more than one where frameworks differ.
    """
    found = defaultdict(set)
    for line in run_git("ls-tree", "-r", commit, "template/", folder=source.folder).decode().splitlines():
        entry, path = line.split("\t")
        _, harness, name = path.partition(HARNESS)
        if harness and name.endswith(".py"):
            found[f"{package}{HARNESS}{name}"].add(entry.split()[2])
    return dict(found)


def read_blobs(source: Template, names: Iterable[str]) -> dict[str, bytes]:
    """Read what git calls by names, all at once."""
    wanted = list(dict.fromkeys(names))
    rest = run_git("cat-file", "--batch", folder=source.folder, text="\n".join(wanted).encode())
    found = {}
    for name in wanted:
        header, _, rest = rest.partition(b"\n")
        size = int(header.split()[2])
        found[name], rest = rest[:size], rest[size + 1 :]
    return found
