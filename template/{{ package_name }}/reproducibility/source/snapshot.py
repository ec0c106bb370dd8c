"""The code of a run, as the record has it: its commit, and the uncommitted work as a patch whose result is known."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..common import digest
from ..common.project import ROOT
from .blobs import FILE, blob_of
from .git import git
from .index import EXACT_PATCH, Git, scratch_index

#: What the record says nothing of: it is of the place where the run went on.
HERE = ("root", "top", "blobs", "written", "handed")


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
    handed : bool
        Whether it was captured elsewhere: here are the files, and no git.
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
    handed: bool = False
    #: The top of the repository; mode and hash of every file of the project in `tree`, and when it was last written.
    top: Path = ROOT
    blobs: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    written: dict[str, int] = field(default_factory=dict, repr=False)

    def content(self) -> dict[str, object]:
        """Give what the record says of it; the patch is a file of its own, here by its digest."""
        kept = {name: value for name, value in vars(self).items() if name not in HERE}
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

    def rewritten(self) -> Iterator[str]:
        """Name the files that were written after they were captured, relative to the project."""
        for path, then in self.written.items():
            file = self.root / path
            if file.exists() and file.stat().st_mtime_ns != then:
                yield f"{self.path}/{path}" if self.path else path

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
            self.take_tree(run)
        self.dirty = "true"

    def take_tree(self, run: Git) -> None:
        """Take what is in a scratch index for tree and patch."""
        self.tree = run("write-tree").decode().strip()
        # Whatever the configuration says of diffs, this is one that `git apply` reads.
        plain = ("-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--unified=3")
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--inter-hunk-context=0", "--no-color")
        self.patch = run("diff-tree", *plain, *prefixes, self.commit, self.tree)
