"""Commit and uncommitted work of a project, and of the repositories that lie in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..common import digest
from ..common.errors import ProjectError
from ..common.project import ROOT
from .blobs import EXECUTABLE, FILE, LISTED, SUBMODULE, blob_of, blob_of_file, read_tree
from .git import EXACT, address, git, is_published, public, repository, run_git
from .index import scratch_index
from .left_out import to_leave_out
from .snapshot import Source

#: Why a project is only here whose person knows it: nothing to be told at the end of every run.
NO_REMOTE = "the repository has no remote"


def capture(root: Path = ROOT, path: str = "") -> Source:
    """Capture commit and uncommitted work: staged, unstaged, untracked, deleted, binary, modes, links, submodules.

    Nothing of the repository changes: the work is added to an index of its own, and its objects go elsewhere.

    Parameters
    ----------
    root : Path
        The project, or the top of a repository in it.
    path : str
        Where that lies in the project; "" for the project itself.

    Notes
    -----
    `git stash create` would miss untracked files, and fails on `git add --intent-to-add`.
    """
    source = Source(root, path)
    try:
        top = repository(root)
    except ProjectError as error:
        source.refused = "\n".join(line for line in (error.cause, error.fix) if line)
        return source
    if top is None:
        return source
    answer = git("rev-parse", "HEAD", "HEAD^{tree}", "--show-prefix", folder=root, options=EXACT)
    if answer is None:
        source.dirty = "true"
        return source
    source.top = top.resolve()
    # `--show-prefix` prints an empty line at the top.
    source.commit, source.tree, *prefix = answer.split("\n")
    source.folder = "".join(prefix).rstrip("/")
    source.branch = git("branch", "--show-current", folder=root) or ""
    source.remote = _remote(root)
    if not is_published(source.commit, root):
        where = f"{path}: " if path else ""
        known = f"{where}no remote is known to have commit {source.commit[:10]} (git push)"
        source.only_here.append(known if source.remote or path else NO_REMOTE)
    _capture_work(source)
    return source


def capture_inner(source: Source, path: str) -> None:
    """Add a repository that lies in the project, and those that lie in it, to what was captured."""
    inner = capture(source.root / path, path)
    if inner.commit == "none":
        reason = f"{path}: {inner.refused or 'a repository without a commit'}"
        source.only_here += [reason] if reason not in source.only_here else []
        return
    for entry in inner.left_out:
        source.leave_out(f"{path}/{entry['path']}", entry["why"], entry["digest"])
    deeper = [replace(code, path=f"{path}/{code.path}") for code in inner.repositories]
    source.repositories += [replace(inner, left_out=[], repositories=[]), *deeper]


def _capture_work(source: Source) -> None:
    """Capture what lies in the work tree, as it is."""
    root, before = source.root, source.tree
    states = list(_changed(root, source.folder))
    clones = {name.rstrip("/") for state, name in states if state == "??" and name.endswith("/")}
    changed = [name for _, name in states if name.rstrip("/") not in clones]
    for name, why in to_leave_out(root, changed):
        source.leave_out(name, why)
    left_out = {entry["path"] for entry in source.left_out}
    if changed:
        with scratch_index(root) as run:
            run("read-tree", source.commit)
            text = b"".join(os.fsencode(name) + b"\0" for name in changed if name not in left_out)
            run("update-index", "--add", "--remove", "--replace", "-z", "--stdin", text=text)
            source.take_tree(run)
            listed = run(*LISTED, source.tree)
    else:
        listed = run_git(*LISTED, source.tree, folder=root, options=EXACT)
    source.blobs = dict(read_tree(listed))
    # A repository further up that ignores this folder has a commit and a clean tree, and no line of this code.
    source.dirty = "true" if states or source.tree != before or not source.blobs else "false"
    for name, (mode, blob) in source.blobs.items():
        if mode in (FILE, EXECUTABLE) and name not in left_out:
            _compare(source, name, blob, uncommitted=name in changed)
    submodules = {name for name, (mode, _) in source.blobs.items() if mode == SUBMODULE}
    for name in sorted(submodules | clones):
        if (root / name / ".git").exists():
            capture_inner(source, name)


def _compare(source: Source, path: str, blob: str, uncommitted: bool) -> None:
    """Note a file whose bytes are not those that git stores, and whether they can be had elsewhere."""
    file = source.root / path
    if not file.is_file():
        return
    source.written[path] = file.stat().st_mtime_ns
    if blob_of_file(file, source.commit) == blob:
        return
    content = file.read_bytes()
    source.converted[path] = digest.of_bytes(content)
    unix = content.replace(b"\r\n", b"\n")
    where = f"{source.path}/{path}" if source.path else path
    if blob_of(unix, source.commit) != blob:
        if uncommitted:
            source.only_here.append(f"{where} is uncommitted, and a filter of git keeps its content elsewhere")
    elif unix.replace(b"\n", b"\r\n") != content:
        source.only_here.append(f"{where} has line ends of two kinds, of which git keeps one")


def _changed(root: Path, folder: str) -> Iterator[tuple[str, str]]:
    """Name every path of the project that may differ from the commit, with its state, relative to the project."""
    arguments = ("--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none", "--", ".")
    prefix = len(f"{folder}/".encode()) if folder else 0
    for line in run_git("status", *arguments, folder=root, options=EXACT).split(b"\0"):
        name = os.fsdecode(line[3 + prefix :])
        if line and (os.access(root / name, os.R_OK) or not (root / name).exists()):  # nor can the run read it
            yield line[:2].decode(), name
    # What git was told not to look at: `git update-index --assume-unchanged` or `--skip-worktree`.
    for line in run_git("ls-files", "-v", "-z", folder=root, options=EXACT).split(b"\0"):
        flag, name = line[:1].decode(), os.fsdecode(line[2:])
        if (flag.islower() or flag == "S") and os.path.lexists(root / name):
            yield "", name


def _remote(root: Path) -> str:
    names = (git("remote", folder=root) or "").split("\n")
    return public(address("origin" if "origin" in names else names[0], root))
