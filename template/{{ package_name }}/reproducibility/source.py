"""The code of a run: its commit, and the uncommitted work as a patch whose result is known."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import tracking
from .project import PACKAGE, ROOT, ProjectError

#: Uncommitted files of more bytes than this, added up from the smallest, are not uploaded.
CAP = 20_000_000
SECRET_NAMES = re.compile(
    r"(^|/)(\.env(\.(?!example$).*)?|\.netrc|\.pypirc|\.databrickscfg|credentials(\.\w+)?|id_(rsa|dsa|ecdsa|ed25519)"
    r"|[^/]*\.(pem|key|p12|pfx|jks|keystore)|[^/]*secrets?\.\w+)$",
    re.IGNORECASE,
)
SECRET_CONTENT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|\bdapi[0-9a-f]{32}\b|\bxox[bp]-\w+"
    rb"|(?i:password|passwd|secret|api_?key|token)[\"']?\s*[:=]\s*[\"'][^\"'\s]{12,}[\"']"
)
#: Would send git to another repository or index, as they do inside a hook.
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_NAMESPACE")
#: A fetch fails where it would otherwise ask for a password.
QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")}
#: `git status` refreshes no index, and what a user's configuration must not turn into an error.
PLAIN = ("--no-optional-locks", "-c", "core.safecrlf=false", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")


@dataclass
class Source:
    """The code of a run.

    Parameters
    ----------
    commit : str
        40 hexadecimal digits, or "none" where there is no git or no commit.
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
    """

    commit: str = "none"
    dirty: str = "unknown"
    tree: str = ""
    folder: str = ""
    remote: str = ""
    branch: str = ""
    patch: bytes = field(default=b"", repr=False)
    left_out: list[dict[str, str]] = field(default_factory=list)

    def content(self) -> dict[str, object]:
        """Give what the record says of it; the patch is a file of its own, here by its digest."""
        from . import digest  # not at the top: the doctor reads this module with whatever Python there is

        patch = digest.of_bytes(self.patch) if self.patch else ""
        return {**vars(self), "patch": patch}

    def leave_out(self, path: str, why: str) -> None:
        """Note a file that the record does not hold."""
        from . import digest

        if path not in {entry["path"] for entry in self.left_out}:
            self.left_out.append({"path": path, "why": why, "digest": digest.of_file(ROOT / path)})


def git(*arguments: str) -> str | None:
    """Ask git, in the project's folder; None where there is no git, no repository or no answer."""
    try:
        return run_git(*arguments).decode().strip()
    except ProjectError:
        return None


def run_git(
    *arguments: str,
    folder: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    text: bytes | None = None,
    timeout: float | None = None,
) -> bytes:
    """Run git in a folder, whatever repository the environment names.

    Raises
    ------
    ProjectError
        With git's own message, if it fails, is not there, or takes longer than `timeout` seconds.
    """
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    command = ["git", *PLAIN, "-C", str(folder), *arguments]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            check=True,
            env=environment | dict(variables or {}),
            input=text,
            timeout=timeout,
        ).stdout
    except OSError as error:
        raise ProjectError("git is not on the PATH.", "https://git-scm.com") from error
    except subprocess.CalledProcessError as error:
        raise ProjectError(f"git {arguments[0]}: {error.stderr.decode(errors='replace').strip()}", "") from error
    except subprocess.TimeoutExpired as error:
        raise ProjectError(f"git {arguments[0]}: no answer within {timeout} s.", "") from error


def committed(path: str) -> bytes | None:
    """Give a file's bytes as the last commit has them, or None if it has not got the file."""
    try:
        return run_git("cat-file", "blob", f"HEAD:./{path}")
    except ProjectError:
        return None


def capture() -> Source:
    """Capture commit and uncommitted work: staged, unstaged, untracked, deleted, binary, modes and links.

    Nothing of the repository changes: the work is added to a copy of the index, and its objects go elsewhere.

    Returns
    -------
    Source

    Notes
    -----
    `git stash create` would miss untracked files, and fails on `git add --intent-to-add`.
    """
    asked = ("HEAD", "HEAD^{tree}", "--show-prefix", "--path-format=absolute", "--git-path", "index", "--git-path")
    answer = git("rev-parse", *asked, "objects")
    if answer is None:
        return Source(dirty="unknown" if git("rev-parse", "--git-dir") is None else "true")
    # `--show-prefix` prints nothing at the top, so the folder is what stands between the trees and the paths.
    commit, tree, *prefix, index, objects = answer.splitlines()
    branch = git("branch", "--show-current") or ""
    source = Source(commit, "false", tree, "".join(prefix).rstrip("/"), _remote(), branch)
    changed = list(_changed(source.folder))
    # A repository further up that ignores this folder has a commit and a clean tree, and no line of this code.
    if changed or not git("ls-files", "--", f"{PACKAGE}/__main__.py"):
        source.dirty = "true"
    if not changed:
        return source
    for path, why in _to_leave_out(changed):
        source.leave_out(path, why)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "index")
        shutil.copyfile(index, copy)
        Path(scratch, "objects").mkdir()
        variables = {
            "GIT_INDEX_FILE": str(copy),
            "GIT_OBJECT_DIRECTORY": str(Path(scratch, "objects")),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
        }

        def run(*arguments: str) -> bytes:
            return run_git(*arguments, folder=ROOT, variables=variables)

        left_out = [f":(literal){entry['path']}" for entry in source.left_out]
        run("add", "--all", "--ignore-errors", "--", ".", *(path.replace("(", "(exclude,", 1) for path in left_out))
        # What is staged outside the project, or is not to be uploaded, is as the commit has it.
        if source.folder:
            run("reset", "--quiet", "HEAD", "--", ":(top)", f":(top,exclude,literal){source.folder}")
        if left_out:
            run("reset", "--quiet", "HEAD", "--", *left_out)
        source.tree = run("write-tree").decode().strip()
        plain = ("-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv")
        source.patch = run("diff-tree", *plain, "HEAD", source.tree)
    return source


def ignored(paths: list[str]) -> set[str]:
    """Tell which of the project's files git ignores, and so neither commit nor patch can hold."""
    try:
        answer = run_git("check-ignore", "--stdin", "-z", folder=ROOT, text="\0".join(paths).encode())
    except ProjectError:  # git says by a failure that it ignores none of them
        return set()
    return set(answer.decode().split("\0")) - {""}


def restore(code: Mapping[str, str], patch: bytes, folder: Path) -> Path:
    """Check a run's code out, in a new repository that borrows the objects of this one and changes nothing in it.

    Parameters
    ----------
    code : Mapping
        `code` of a record: commit, tree, folder and remote are used.
    patch : bytes
        The uncommitted work.
    folder : Path
        Where to; it must not exist.

    Returns
    -------
    Path
        The project in it.

    Raises
    ------
    ProjectError
        With exit code 2, if the commit is nowhere to be had or the patch does not lead to the recorded tree.
    """
    run_git("init", "--quiet", "--template=", str(folder), folder=Path(tempfile.gettempdir()))
    options = {"core.autocrlf": "false", "core.symlinks": "true", "core.fileMode": "true", "core.hooksPath": os.devnull}
    for option, value in options.items():
        run_git("config", option, value, folder=folder)
    objects = git("rev-parse", "--path-format=absolute", "--git-path", "objects")
    if objects:
        alternates = folder / ".git/objects/info/alternates"
        alternates.parent.mkdir(parents=True, exist_ok=True)
        alternates.write_text(f"{objects}\n", "utf-8")
    if code["remote"]:
        run_git("remote", "add", "origin", code["remote"], folder=folder)
    if not has_commit(code["commit"], folder):
        _fetch(code, folder)
    run_git("checkout", "--quiet", "--force", "--detach", code["commit"], folder=folder)
    if patch:
        file = folder / ".git" / "uncommitted.patch"
        file.write_bytes(patch)
        run_git("apply", "--index", "--binary", "--whitespace=nowarn", str(file), folder=folder)
    tree = run_git("write-tree", folder=folder).decode().strip()
    if tree != (code.get("tree") or tree):
        raise ProjectError(
            f"the uncommitted work does not lead to the tree that was recorded: {tree} instead of {code['tree']}.",
            "The record was changed, or the repository was: compare record/uncommitted.patch of the run.",
            exit_code=2,
        )
    return folder / code["folder"] if code["folder"] else folder


def has_commit(commit: str, folder: Path = ROOT) -> bool:
    """Tell whether a repository has a commit, without asking any remote."""
    try:
        run_git("cat-file", "-e", f"{commit}^{{commit}}", folder=folder)
    except ProjectError:
        return False
    return True


def follows(newer: str, older: str, folder: Path) -> bool:
    """Tell whether a commit has another among its ancestors, or is it; False for one that is not there."""
    try:
        run_git("merge-base", "--is-ancestor", older, newer, folder=folder)
    except ProjectError:
        return False
    return True


def remotes(code: Mapping[str, str]) -> list[str]:
    """List where a commit may be fetched from: the recorded remote, then those of this repository."""
    names = (git("remote") or "").split()
    own = [git("ls-remote", "--get-url", name) or "" for name in names]
    return [remote for remote in dict.fromkeys([code["remote"], *map(_absolute, own)]) if remote]


def _fetch(code: Mapping[str, str], folder: Path) -> None:
    tried = []
    for remote in remotes(code):
        # By its hash first, as a commit can outlive its branch; not every server allows that.
        for what in ([code["commit"], "--depth=1"], ["+refs/*:refs/fetched/*"]):
            try:
                run_git("fetch", "--quiet", "--no-tags", remote, *what, folder=folder, variables=QUIET)
            except ProjectError as error:
                failure = f"{_public(remote)}: {error.cause.splitlines()[-1]}"
                continue
            if has_commit(code["commit"], folder):
                return
            failure = f"{_public(remote)} has not got it"
        tried.append(failure)
    raise ProjectError(
        f"commit {code['commit']} is not here and cannot be fetched: {'; '.join(tried) or 'there is no remote'}.",
        f"In the clone that has it (branch {code.get('branch') or 'unknown'}): git push origin {code['commit'][:10]}"
        ":refs/heads/keep\nthen try again.",
        exit_code=2,
    )


def _changed(folder: str) -> Iterator[str]:
    """Name every path of the project that differs from the commit, relative to the project."""
    status = run_git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", ".")
    prefix = len(f"{folder}/".encode()) if folder else 0
    for line in status.split(b"\0"):
        if line:
            yield os.fsdecode(line[3 + prefix :])


def _to_leave_out(changed: list[str]) -> Iterator[tuple[str, str]]:
    total = 0
    files = [(ROOT / path, path) for path in changed]
    sizes = sorted((file.lstat().st_size, path) for file, path in files if file.is_file() and not file.is_symlink())
    for size, path in sizes:
        total += size
        if total > CAP:
            yield path, f"the uncommitted files are larger than {CAP / 1e6:.0f} MB with it"
        elif SECRET_NAMES.search(path) or SECRET_CONTENT.search((ROOT / path).read_bytes()):
            yield path, "it looks like a secret"


def _remote() -> str:
    names = (git("remote") or "").split()
    name = "origin" if "origin" in names else "".join(names[:1])
    return _public(_absolute(git("ls-remote", "--get-url", name) or "")) if name else ""


def _absolute(remote: str) -> str:
    """Make a relative path absolute: git takes it from the top of the repository."""
    if not remote or ":" in remote:
        return remote
    return str(Path(git("rev-parse", "--show-toplevel") or ROOT, remote).resolve())


def _public(remote: str) -> str:
    """Leave user name and password out of a web address; over SSH the user's name is part of the address."""
    return tracking.public(remote) if remote.startswith("http") else remote
