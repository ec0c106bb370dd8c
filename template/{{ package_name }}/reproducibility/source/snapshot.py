"""The code of a run: its commit, and the uncommitted work as a patch whose result is known."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..common import digest
from ..common.errors import ProjectError
from ..common.project import ROOT
from .blobs import EXECUTABLE, FILE, LISTED, SUBMODULE, blob_of, blob_of_file, read_tree
from .git import EXACT, address, git, is_published, public, repository, run_git
from .index import EXACT_PATCH, Git, scratch_index
from .left_out import SENSITIVE, looks_secret, to_leave_out

#: Why a project is only here whose person knows it: nothing to be told at the end of every run.
NO_REMOTE = "the repository has no remote"


@dataclass
class Source:
    """The code of a run, or of a repository that lies in its project: a submodule, or a clone.

    Parameters
    ----------
    root : Path
        The project, or the top of the repository that lies in it.
    path : str
        Where that is, relative to the project; "" for the project.
    commit : str
        40 or 64 hexadecimal digits, or "none" where there is no git or no commit.
    dirty : str
        "true", "false", or "unknown" without git.
    tree : str
        git's hash of all the project's files as they were, uncommitted work included.
    folder : str
        Where the project lies in its repository; "" at its top.
    remote, branch : str
        Where the commit can be fetched from, if it was pushed; "" where there is none.
    patch : bytes
        Leads from the commit to `tree`; empty where nothing was uncommitted.
    left_out : list of dict
        What is in neither commit nor patch, though the run may need it: `path`, `why` and `digest` of each file.
    converted : dict of str to str
        The digest of every file whose bytes are not those that git stores: line ends, Git LFS and other filters.
    only_here : list of str
        Why this clone is needed.
    refused : str
        Git's own message, where there is a repository that it does not use.
    repositories : list of Source
        Those that lie in the project.
    """

    root: Path
    path: str = ""
    commit: str = "none"
    dirty: str = "unknown"
    tree: str = ""
    folder: str = ""
    remote: str = ""
    branch: str = ""
    patch: bytes = field(default=b"", repr=False)
    left_out: list[dict[str, str]] = field(default_factory=list)
    converted: dict[str, str] = field(default_factory=dict)
    only_here: list[str] = field(default_factory=list)
    refused: str = ""
    repositories: list[Source] = field(default_factory=list)
    #: The top of the repository; mode and hash of every file of the project in `tree`, and when it was last written.
    top: Path = ROOT
    blobs: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    written: dict[str, int] = field(default_factory=dict, repr=False)

    def content(self) -> dict[str, object]:
        """Give what the record says of it; the patch is a file of its own, here by its digest."""
        kept = {name: value for name, value in vars(self).items() if name not in ("root", "top", "blobs", "written")}
        patch = digest.of_bytes(self.patch) if self.patch else ""
        return {**kept, "patch": patch, "repositories": [inner.content() for inner in self.repositories]}

    def patches(self) -> dict[str, bytes]:
        """Give the files of the record that hold the uncommitted work, by their names."""
        inner = {f"uncommitted-{number}.patch": code.patch for number, code in enumerate(self.repositories, 1)}
        return {name: patch for name, patch in {"uncommitted.patch": self.patch, **inner}.items() if patch}

    def leave_out(self, path: str, why: str, content: str = "") -> None:
        """Note a file that the record does not hold; `content` is its digest, by default as it is now."""
        known = {entry["path"]: entry for entry in self.left_out}
        if path not in known:
            self.left_out.append({"path": path, "why": why, "digest": content or digest.of_file(self.root / path)})
        elif content:
            known[path]["digest"] = content

    @property
    def reproducible(self) -> str:
        """From where the run can be executed again: "anywhere", "here" or "no"."""
        if self.commit == "none" or not all(digest.fits(self.root / e["path"], e["digest"]) for e in self.left_out):
            return "no"
        return "here" if self.left_out or self.all_only_here else "anywhere"

    @property
    def all_only_here(self) -> list[str]:
        """Why this clone is needed, for the project and every repository in it."""
        return [reason for code in (self, *self.repositories) for reason in code.only_here]

    def settle(self, imported: Mapping[Path, bytes]) -> dict[str, str]:
        """Make the record hold what the run imported, which may have been edited before or after the capture.

        Parameters
        ----------
        imported : Mapping of Path to bytes
            The files that Python imported, as they were then.

        Returns
        -------
        dict of str to str
            The digest of each, by its path relative to the project.
        """
        modules = {}
        edited: dict[str, dict[str, bytes]] = {}
        for file, content in sorted(imported.items()):
            path = _beside(file, self.root) if file.is_relative_to(self.top) else file.as_posix()
            modules[path] = digest.of_bytes(content)
            if self.commit == "none":
                continue
            code = self._repository_of(file.resolve())
            if code is None:
                self.leave_out(path, "the run imported it, and it belongs to no commit of this project", modules[path])
                continue
            own = _beside(file.resolve(), code.root.resolve())
            if code.holds(own, content):
                continue
            if git("check-ignore", "--quiet", "--", own, folder=code.root) is not None:
                self.leave_out(path, "the run imported it, and git ignores it", modules[path])
            elif looks_secret(own, content) or path in {entry["path"] for entry in self.left_out}:
                self.leave_out(path, SENSITIVE, modules[path])
            else:
                edited.setdefault(code.path, {})[own] = content
                print(f"notice: {path} was edited while the run went on. It is recorded as imported.", file=sys.stderr)
        for code in (self, *self.repositories):
            if code.path in edited:
                code.amend(edited[code.path])
        others = {path for code in (self, *self.repositories) for path in code._rewritten()} - modules.keys()
        for path in sorted(others):
            print(f"notice: {path} was written while the run went on. Recorded as it was before.", file=sys.stderr)
        return modules

    def _rewritten(self) -> Iterator[str]:
        """Name the files that were written after they were captured, relative to the project."""
        for path, then in self.written.items():
            file = self.root / path
            if file.exists() and file.stat().st_mtime_ns != then:
                yield f"{self.path}/{path}" if self.path else path

    def has(self, file: Path, wanted: str) -> bool:
        """Tell whether a file of the project is in commit or patch, and has the bytes of a digest."""
        code = self._repository_of(file)
        if code is None:
            return False
        path = _beside(file, code.root.resolve())
        if path in code.converted:
            return code.converted[path] == wanted
        known = code.blobs.get(path)
        return known is not None and digest.fits(file, wanted) and known[1] == blob_of_file(file, code.commit)

    def holds(self, path: str, content: bytes) -> bool:
        """Tell whether commit and patch lead to a file of these bytes; the path is relative to `root`."""
        if path in self.converted:
            return self.converted[path] == digest.of_bytes(content)
        if path.startswith("../"):  # beside the project all is as the commit has it
            return git("rev-parse", f"{self.commit}:{path}", folder=self.root) == blob_of(content, self.commit)
        return path in self.blobs and self.blobs[path][1] == blob_of(content, self.commit)

    def amend(self, files: Mapping[str, bytes]) -> None:
        """Put files into tree and patch, by their paths relative to `root`, just as these bytes are."""
        with scratch_index(self.top) as run:
            run("read-tree", self.commit)
            if self.patch:
                run("apply", "--cached", *EXACT_PATCH, text=self.patch)
            for path, content in files.items():
                name = run("hash-object", "-w", "--stdin", text=content).decode().strip()
                mode = self.blobs.get(path, (FILE, ""))[0]
                top = os.path.normpath(f"{self.folder}/{path}" if self.folder else path)
                run("update-index", "--add", "--replace", "--cacheinfo", f"{mode},{name},{top}")
                self.blobs[path] = mode, name
                self.converted.pop(path, None)
            self._take_tree(run)
        self.dirty = "true"

    def _take_tree(self, run: Git) -> None:
        self.tree = run("write-tree").decode().strip()
        # Whatever the configuration says of diffs, this is one that `git apply` reads.
        plain = ("-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--unified=3")
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--inter-hunk-context=0", "--no-color")
        self.patch = run("diff-tree", *plain, *prefixes, self.commit, self.tree)

    def _repository_of(self, file: Path) -> Source | None:
        """Find the repository in which a file lies; one that was not known before is captured now."""
        top = next((place for place in file.parents if (place / ".git").exists()), None)
        if top == self.top:
            return self
        if top is None or not top.is_relative_to(self.top):
            return None
        if top not in {code.top for code in self.repositories}:
            self._capture_inner(_beside(top, self.root.resolve()))
        return next((code for code in self.repositories if code.top == top), None)

    def _capture_inner(self, path: str) -> None:
        """Capture a repository that lies in the project, and those that lie in it."""
        inner = capture(self.root / path, path)
        if inner.commit == "none":
            reason = f"{path}: {inner.refused or 'a repository without a commit'}"
            self.only_here += [reason] if reason not in self.only_here else []
            return
        for entry in inner.left_out:
            self.leave_out(f"{path}/{entry['path']}", entry["why"], entry["digest"])
        deeper = [replace(code, path=f"{path}/{code.path}") for code in inner.repositories]
        self.repositories += [replace(inner, left_out=[], repositories=[]), *deeper]


def capture(root: Path = ROOT, path: str = "") -> Source:
    """Capture commit and uncommitted work: staged, unstaged, untracked, deleted, binary, modes, links, submodules.

    Nothing of the repository changes: the work is added to an index of its own, and its objects go elsewhere.

    Parameters
    ----------
    root : Path
        The project, or the top of a repository in it.
    path : str
        Where that lies in the project; "" for the project itself.

    Returns
    -------
    Source

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
            source._take_tree(run)
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
            source._capture_inner(name)


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


def _beside(file: Path, folder: Path) -> str:
    """Give a path relative to a folder, also where it does not lie in it; absolute on another drive."""
    return Path(os.path.relpath(file, folder)).as_posix()


def _remote(root: Path) -> str:
    names = (git("remote", folder=root) or "").split("\n")
    return public(address("origin" if "origin" in names else names[0], root))
