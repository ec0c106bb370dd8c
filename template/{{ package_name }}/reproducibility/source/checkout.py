"""A run's code, put into a folder of its own: from git, from the record, and from what only this folder has."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..common.project import ROOT
from .blobs import SUBMODULE
from .filters import convert
from .git import EXACT, QUIET, address, described, git, has_commit, public, remotes, repository, run_git
from .index import EXACT_PATCH

#: What is checked out is just what git stores.
RAW = "* -text !eol !crlf !filter -ident !working-tree-encoding\n"
#: Of a repository's own configuration, what says how remotes are reached and how its filters work.
BORROWED = r"^(http|credential|url|filter|lfs|protocol|ssh)\.|^core\.(sshcommand|gitproxy|askpass)$"


def restore(code: Mapping[str, Any], patches: Mapping[str, bytes], folder: Path, here: Path = ROOT) -> Path:
    """Check a run's code out, in new repositories that borrow the objects of those here and change nothing in them.

    Parameters
    ----------
    code : Mapping
        `code` of a record.
    patches : Mapping of str to bytes
        The uncommitted work, by the digests that the record has of it.
    folder : Path
        Where to; it must not exist.
    here : Path
        The project that may have commits and files.

    Returns
    -------
    Path
        The project in it.

    Raises
    ------
    ProjectError
        With exit code 2, if a commit is nowhere to be had, a patch does not lead to the recorded tree, or a file
        cannot be had as it was.
    """
    _restore(code, patches, folder, here)
    project = inside(folder, code["folder"])
    if "repositories" not in code:  # a record of before they were kept
        for inner in _submodules(project):
            with contextlib.suppress(ProjectError):  # as it was then, when nobody asked for it
                _restore(inner, patches, inside(project, inner["path"]), here / inner["path"])
        return project
    modules = git("rev-parse", "--path-format=absolute", "--git-path", "modules", folder=here) or ""
    for inner in code["repositories"]:
        target = inside(folder, str(Path(code["folder"], inner["path"])))
        if (target / ".git").exists():
            raise outside(inner["path"])
        # Where git keeps a submodule's objects, also when its folder is gone.
        kept = Path(modules, code["folder"], inner["path"], "objects")
        _restore(inner, patches, target, here / inner["path"], kept)
    return project


def _restore(
    code: Mapping[str, Any], patches: Mapping[str, bytes], folder: Path, here: Path, kept: Path | None = None
) -> None:
    """Check one repository out, with the uncommitted work in it."""
    here = next(place for place in (here, *here.parents) if place.is_dir())
    lender = repository(here)  # asked first: what git says of it is said before anything is made
    kind = "sha256" if len(code["commit"]) == 64 else "sha1"
    init = ("init", "--quiet", "--template=", "--initial-branch=replay", f"--object-format={kind}", str(folder))
    run_git(*init, folder=Path(tempfile.gettempdir()))
    _borrow(folder, here if lender else None, code["remote"], kept)
    if not has_commit(code["commit"], folder):
        (folder / ".git/objects/info/alternates").unlink(missing_ok=True)  # it may be cut off, or lack files
        _fetch(code, folder, here)
    _check_out(code, patches, folder)
    project = inside(folder, code["folder"])
    for path, content in code.get("converted", {}).items():
        name = Path(code["folder"], path).as_posix()
        convert(name, content, inside(project, path), folder, here / path)
        # Where its filter is, git sees that nothing changed.
        git("update-index", "--", name, folder=folder, options=EXACT)


def _check_out(code: Mapping[str, Any], patches: Mapping[str, bytes], folder: Path) -> None:
    """Check a commit out just as git stores it, and put the uncommitted work on it."""
    options = (*EXACT, *described(folder), "-c", "core.autocrlf=false")

    def run(*arguments: str, text: bytes | None = None) -> bytes:
        return run_git(*arguments, folder=folder, variables=QUIET, text=text, options=options)

    attributes = folder / ".git/info/attributes"
    if "converted" in code:  # else filters give what they give, as when the run was recorded
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text(RAW, "utf-8")
    patch = _patch(code, patches) if code.get("patch") else b""
    try:
        run("checkout", "--quiet", "--force", "--detach", code["commit"])
        if patch:
            run("apply", "--index", *EXACT_PATCH, text=patch)
    except ProjectError as error:
        raise ProjectError(
            f"commit {code['commit']} cannot be checked out. {error.cause}",
            error.fix or "git fsck      tells what this repository lacks.",
            CANNOT_BE_TRIED,
        ) from error
    tree = run("write-tree").decode().strip()
    if tree != (code.get("tree") or tree):
        raise ProjectError(
            f"the uncommitted work does not lead to the tree that was recorded: {tree} instead of {code['tree']}.",
            "The record was changed, or the repository was: compare record/uncommitted.patch of the run.",
            CANNOT_BE_TRIED,
        )
    attributes.unlink(missing_ok=True)


def _submodules(project: Path) -> Iterator[dict[str, Any]]:
    """Name the submodules of a checkout, with the addresses that its .gitmodules has for them."""
    known = ("config", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.(path|url)$")
    lines = (git(*known, folder=project) or "").splitlines()
    found = dict(line.split(" ", 1) for line in lines if " " in line)
    for line in (git("ls-files", "--stage", "-z", folder=project) or "").split("\0"):
        about, _, path = line.partition("\t")
        if about.startswith(SUBMODULE):
            names = (name for name, value in found.items() if name.endswith(".path") and value == path)
            remote = next((found.get(f"{name.removesuffix('.path')}.url", "") for name in names), "")
            commit = about.split(" ")[1]
            yield {"path": path, "commit": commit, "remote": remote if ":" in remote else "", "folder": ""}


def _borrow(folder: Path, here: Path | None, remote: str, kept: Path | None) -> None:
    """Let a new repository see the objects of one that is here, reach remotes and filter files as that does."""

    def configure(name: str, value: str) -> None:
        run_git("config", "--add", name, value, folder=folder)

    # Line ends are kept as they are, whatever a person prefers; and a file with those of Windows has not changed.
    configure("core.autocrlf", "input")
    configure("core.hooksPath", os.devnull)
    lent = [str(kept)] if kept and kept.is_dir() else []
    if here:
        objects = git("rev-parse", "--path-format=absolute", "--git-path", "objects", folder=here)
        lent = [*([objects] if objects else []), *lent]
        local = ("config", "--local", "--includes", "-z", "--get-regexp")
        found = git(*local, BORROWED, folder=here) or ""
        for line in found.split("\0"):
            if line:
                configure(*line.split("\n", 1))
        for line in (git(*local, r"^remote\..*\.promisor$", folder=here) or "").split("\0"):
            if line:  # what is not here yet of a partial clone is fetched as it is needed
                name = line.split("\n")[0].removeprefix("remote.").removesuffix(".promisor")
                configure(f"remote.{name}.url", address(name, here))
                configure(f"remote.{name}.promisor", "true")
                run_git("config", "core.repositoryFormatVersion", "1", folder=folder)
                run_git("config", "extensions.partialClone", name, folder=folder)
    if lent:
        (folder / ".git/objects/info/alternates").write_text("".join(f"{place}\n" for place in lent), "utf-8")
    if remote and git("config", "remote.origin.url", folder=folder) is None:
        configure("remote.origin.url", remote)


def _fetch(code: Mapping[str, Any], folder: Path, here: Path) -> None:
    """Fetch a commit from the first remote that gives it."""
    tried, refused = [], False
    for remote in remotes(code, here):
        said = "has not got it"
        # By its hash first, as a commit can outlive its branch; not every server allows that.
        for what in (["--depth=1", "--", remote, code["commit"]], ["--", remote, "+refs/*:refs/fetched/*"]):
            try:
                fetch = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *what)
                run_git(*fetch, folder=folder, variables=QUIET, options=EXACT)
            except ProjectError as error:
                said = "\n    ".join([error.cause.removeprefix("git fetch: "), *error.fix.splitlines()])
                continue
            if has_commit(code["commit"], folder):
                return
            said = "has not got it"
        refused = refused or said != "has not got it"
        tried.append(f"\n  {public(remote)}: {said}")
    push = (
        f"In the clone that has it (branch {code.get('branch') or 'unknown'}): git push origin {code['commit'][:10]}"
        ":refs/heads/keep\nthen try again."
    )
    raise ProjectError(
        f"commit {code['commit']} is not here and cannot be fetched: {''.join(tried) or 'there is no remote'}",
        f"Mend what git says of the remote, then try again. If it was never pushed:\n{push}" if refused else push,
        CANNOT_BE_TRIED,
    )


def _patch(code: Mapping[str, Any], patches: Mapping[str, bytes]) -> bytes:
    if code["patch"] not in patches:
        raise ProjectError(
            f"the record lacks the uncommitted work {code['patch'][:19]}.",
            "The artifact folder record/ of the run holds it; restore that from a backup of the store.",
            CANNOT_BE_TRIED,
        )
    return patches[code["patch"]]


def inside(folder: Path, path: str) -> Path:
    """Resolve a path of a record, which must not lead out of a folder or into git's own, whoever wrote it.

    Raises
    ------
    ProjectError
        If it does.
    """
    try:
        target = (folder / path).resolve()
        parts = target.relative_to(folder.resolve()).parts
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise outside(path) from error
    if any(part.lower() in (".git", "git~1") for part in parts):
        raise outside(path)
    return target


def outside(path: object) -> ProjectError:
    """Make the error that refuses a path."""
    return ProjectError(f"the record names {path}, outside the project.", "Do not trust this record.")
