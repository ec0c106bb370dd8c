"""Git, asked so that neither the shell nor anybody's configuration changes what is read or written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..common import addresses
from ..common.errors import ProjectError
from ..common.project import ROOT

#: Would send git to another repository, index or attributes, as some do inside a hook, or make it read paths and
#: write patches otherwise. Configuration from the environment stays: it may hold how a remote is reached.
FOREIGN = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE"),
    *("GIT_INDEX_FILE", "GIT_INDEX_VERSION", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
    *("GIT_QUARANTINE_PATH", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS"),
    *("GIT_ATTR_SOURCE", "GIT_CONFIG", "GIT_DEFAULT_HASH", "GIT_DEFAULT_REF_FORMAT", "GIT_TEMPLATE_DIR"),
    *("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
    *("GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF", "GIT_OPTIONAL_LOCKS", "GIT_NO_LAZY_FETCH", "GIT_LFS_SKIP_SMUDGE"),
)
#: A fetch fails where it would otherwise ask for a password, whatever command reaches the remote.
QUIET = {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS": "false", "SSH_ASKPASS_REQUIRE": "force"}
#: `git status` refreshes no index, and what a user's configuration must not turn into an error.
PLAIN = ("--no-optional-locks", "-c", "core.safecrlf=false", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
#: Whatever is configured: no hooks, nothing in the background, and all that lies in the work tree is seen.
EXACT = (
    "--no-replace-objects",
    *("-c", f"core.hooksPath={os.devnull}", "-c", "gc.auto=0", "-c", "maintenance.auto=false"),
    *("-c", "core.ignoreStat=false", "-c", "core.sparseCheckout=false", "-c", "core.untrackedCache=false"),
    *("-c", "core.splitIndex=false", "-c", "core.bigFileThreshold=512m", "-c", "submodule.recurse=false"),
    *("-c", "diff.ignoreSubmodules=none", "-c", "apply.whitespace=nowarn", "-c", "apply.ignoreWhitespace=no"),
)
#: What `git init` finds out about the disk and keeps where it is not the rule.
DESCRIBED = {"core.fileMode": "true", "core.ignoreCase": "false", "core.symlinks": "true"}


def git(*arguments: str, folder: Path = ROOT, options: Iterable[str] = ()) -> str | None:
    """Ask git, in the project's folder by default; None where there is no git, no repository or no answer."""
    try:
        return os.fsdecode(run_git(*arguments, folder=folder, options=options)).strip()
    except ProjectError:
        return None


def run_git(
    *arguments: str,
    folder: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    text: bytes | None = None,
    timeout: float | None = None,
    options: Iterable[str] = (),
) -> bytes:
    """Run git in a folder, whatever repository the environment names, and give what it prints.

    Parameters
    ----------
    *arguments : str
        The command and what it is given.
    folder : Path
        Where; the project by default.
    variables : Mapping of str to str, optional
        Environment variables on top of this process's.
    text : bytes, optional
        What it reads.
    timeout : float, optional
        Seconds that it may take.
    options : iterable of str, optional
        git's own, before the command, such as `EXACT`.

    Raises
    ------
    ProjectError
        With git's own message, and the commands that it advises as the fix, if it fails, is not there, or takes
        longer than `timeout` seconds.
    """
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    command = ["git", *PLAIN, *options, "-C", str(folder), *arguments]
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
        lines = [line for line in error.stderr.decode(errors="replace").splitlines() if line.strip()]
        # What git advises to type, it indents.
        advice = [line.strip() for line in lines if line.startswith("\t")]
        said = "\n".join(line for line in lines if not line.startswith("\t"))
        raise ProjectError(f"git {arguments[0]}: {said}", "\n".join(advice)) from error
    except subprocess.TimeoutExpired as error:
        raise ProjectError(f"git {arguments[0]}: no answer within {timeout} s.", "") from error


def repository(folder: Path = ROOT) -> Path | None:
    """Find the top folder of the repository in which a folder lies; None where there is none.

    Raises
    ------
    ProjectError
        With git's own message, if there is one that git does not use: of another user's, for example.
    """
    try:
        return Path(os.fsdecode(run_git("rev-parse", "--show-toplevel", folder=folder)).rstrip("\n"))
    except ProjectError:
        if shutil.which("git") is None or any((place / ".git").exists() for place in (folder, *folder.parents)):
            raise
        return None


def described(folder: Path) -> list[str]:
    """Give options that hold git to what it found out about a repository's disk, whatever a person configured."""
    pattern = f"^({'|'.join(DESCRIBED).lower()})$"
    lines = (git("config", "--local", "--get-regexp", pattern, folder=folder) or "").splitlines()
    found = {name: value for name, _, value in (line.partition(" ") for line in lines)}
    return [part for name in DESCRIBED for part in ("-c", f"{name}={found.get(name.lower()) or DESCRIBED[name]}")]


def has_commit(commit: str, folder: Path = ROOT) -> bool:
    """Tell whether a repository has a commit. None but a partial clone asks its remote."""
    try:
        run_git("cat-file", "-e", f"{commit}^{{commit}}", folder=folder, variables=QUIET)
    except ProjectError:
        return False
    return True


def follows(newer: str, older: str, folder: Path) -> bool:
    """Tell whether a commit has another among its ancestors, or is it; False for one that is not there."""
    return git("merge-base", "--is-ancestor", older, newer, folder=folder) is not None


def is_published(commit: str, folder: Path) -> bool:
    """Tell whether a remote has a commit, from what is known of its branches here; none is asked."""
    if git("for-each-ref", "--count=1", "--contains", commit, "refs/remotes", folder=folder):
        return True
    # Where the history is cut off, it came from a remote.
    shallow = Path(git("rev-parse", "--path-format=absolute", "--git-path", "shallow", folder=folder) or "")
    return shallow.is_file() and commit in shallow.read_text("utf-8").split()


def remotes(code: Mapping[str, str], folder: Path = ROOT) -> list[str]:
    """List where a commit may be fetched from: the recorded remote, then those of a repository here."""
    names = (git("remote", folder=folder) or "").split("\n")
    return [remote for remote in dict.fromkeys([code["remote"], *(address(name, folder) for name in names)]) if remote]


def address(remote: str, folder: Path) -> str:
    """Give the address that a remote's name stands for; "" where there is none. A relative path is made absolute."""
    found = (git("ls-remote", "--get-url", remote, folder=folder) or "") if remote else ""
    if not found or ":" in found:
        return found
    # git takes it from the top of the repository.
    return str(Path(git("rev-parse", "--show-toplevel", folder=folder) or folder, found).resolve())


def public(remote: str) -> str:
    """Leave user name and password out of a web address; over SSH the user's name is part of the address."""
    return addresses.public(remote) if remote.startswith("http") else remote
