"""Git, asked so that neither the shell nor anybody's configuration changes what is read or written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .errors import ProjectError

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


def run_git(
    *arguments: str, folder: Path, variables: Mapping[str, str] | None = None, text: bytes | None = None
) -> bytes:
    """Run git in a folder, whatever repository the environment names.

    Parameters
    ----------
    *arguments : str
        The command and what it is given.
    folder : Path
        Where.
    variables : Mapping of str to str, optional
        Environment variables on top of this process's.
    text : bytes, optional
        What it reads.

    Returns
    -------
    bytes
        What it printed.

    Raises
    ------
    ProjectError
        With git's own message, and the commands that it advises as the fix, if it fails or is not there.
    """
    command = ["git", *PLAIN, "-C", str(folder), *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, check=True, env=environment() | dict(variables or {}), input=text
        ).stdout
    except OSError as error:
        raise ProjectError("git is not on the PATH.", "https://git-scm.com") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.decode(errors="replace").splitlines() if line.strip()]
        # What git advises to type, it indents.
        advice = [line.strip() for line in lines if line.startswith("\t")]
        said = "\n".join(line for line in lines if not line.startswith("\t"))
        raise ProjectError(f"git {arguments[0]}: {said}", "\n".join(advice)) from error


def environment() -> dict[str, str]:
    """Give this process's environment without what would send git elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def follows(newer: str, older: str, folder: Path) -> bool:
    """Tell whether a commit has another among its ancestors, or is it; False for one that is not there."""
    try:
        run_git("merge-base", "--is-ancestor", older, newer, folder=folder)
    except ProjectError:
        return False
    return True
