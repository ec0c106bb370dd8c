"""Propose an update of the template: a branch of its own, pushed, and a pull request with the report as its text."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import merge, update
from .errors import ProjectError
from .git import QUIET, run_git
from .interrupts import undisturbed
from .merge import Change, Kind
from .scratch import temporary_folder

#: Of the CI's secrets: may push and open pull requests.
TOKEN = "TEMPLATE_UPDATE_TOKEN"
AUTHOR = ("-c", "user.name=Template update", "-c", "user.email=template-update@localhost", "-c", "commit.gpgSign=false")
#: What GitHub takes, less some.
LONGEST = 60_000


def propose(project: Path, version: str | None, answers: Mapping[str, str]) -> int:
    """Push an update as a branch of its own and open a pull request, without touching the files or branches here.

    Where both sides changed the same lines yours stand, never markers, and the pull request is a draft.

    Parameters
    ----------
    project : Path
        The project's folder, in a repository with a remote `origin`.
    version : str or None
        A version of the template; its newest release by default.
    answers : Mapping of str
        Answers that change.

    Returns
    -------
    int
        0, also if there is nothing to bring, or it was proposed before.

    Raises
    ------
    ProjectError
        If it cannot be pushed or opened; nothing is left behind then.
    """
    update.require_commit(project)
    base = run_git("branch", "--show-current", folder=project).decode().strip()
    if not base:
        raise ProjectError("no branch is checked out, so there is nothing to propose to.", "git switch main")
    with _checked_out(project) as copy:
        prepared = update.prepare(copy, version, answers)
        if prepared is None or not merge.results(prepared.changes):
            print("Nothing to bring.")
            return 0
        branch = f"template-update-{prepared.new}"
        if _remotely(project, "ls-remote", "--heads", "origin", f"refs/heads/{branch}"):
            print(f"{branch} was pushed before; delete it on the remote to propose the update anew.")
            return 0
        left = update.run_recipes(copy, update.perform(copy, _without_markers(prepared)))
        title = f"Update the template to {prepared.new}"
        run_git("add", "--all", "--", ".", folder=copy)
        run_git(*AUTHOR, "commit", "--quiet", "--no-verify", "--message", title, folder=copy)
        _remotely(copy, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
    text = describe(prepared, left)
    try:
        address = _open(branch, base, title, text, draft=bool(prepared.open or left))
    except BaseException:
        _remotely(project, "push", "--quiet", "--delete", "origin", branch)
        raise
    told = f"proposed as {address}" if address else f"{branch} is pushed. Open a pull request for it, saying:\n\n{text}"
    print(told)
    return 0


@contextlib.contextmanager
def _checked_out(project: Path) -> Iterator[Path]:
    """Give a clean copy of the project as it was committed, in a work tree of its own."""
    prefix = run_git("rev-parse", "--show-prefix", folder=project).decode().strip()
    with temporary_folder("proposal") as folder:
        tree = folder / "tree"
        without_hooks = ("-c", f"core.hooksPath={os.devnull}")
        run_git(*without_hooks, "worktree", "add", "--quiet", "--detach", str(tree), "HEAD", folder=project)
        try:
            yield tree / prefix
        finally:
            with undisturbed():
                run_git("worktree", "remove", "--force", str(tree), folder=project)


def _remotely(project: Path, *arguments: str) -> bytes:
    try:
        return run_git(*arguments, folder=project, variables=QUIET)
    except ProjectError as error:
        raise ProjectError(
            error.cause,
            f"The remote must be called origin (git remote add origin ADDRESS), and {TOKEN} may push to it.",
        ) from error


def describe(prepared: update.Update, left: list[str]) -> str:
    """Write the text of a pull request, in Markdown.

    Parameters
    ----------
    prepared : Update
        The update.
    left : list of str
        The recipes that failed.
    """
    parts = [prepared.news, "### What happens to your files", f"```\n{prepared.report()}\n```"]
    if prepared.open or left:
        parts.append("### Left to do before this is merged")
    if left:
        parts.append(f"`just {left[0]}` fails on this branch: run it there, and mend what it says.")
    for change in prepared.open:
        what = "yours stand" if change.kind is Kind.CONFLICTING else change.note
        who = "you" if change.kind is Kind.RETIRED else "the template"
        parts.append(f"**{change.path}** ({change.kind}: {what}). What {who} changed, to be taken over by hand:")
        parts.append(f"```diff\n{merge.to_take_over(change)}\n```")
    text = "\n\n".join(parts)
    rest = "\n\nThe rest is too long for here: `just template-update --check`"
    return text if len(text) < LONGEST else text[: LONGEST - len(rest)] + rest


def _without_markers(prepared: update.Update) -> update.Update:
    def settle(change: Change) -> Change:
        if change.kind is not Kind.CONFLICTING:
            return change
        return dataclasses.replace(change, result=merge.favour_yours(change), kind=Kind.MERGED)

    return dataclasses.replace(prepared, changes=[settle(change) for change in prepared.changes])


def _open(branch: str, base: str, title: str, text: str, draft: bool) -> str:
    """Open a pull request on GitHub or a merge request on GitLab, and give its address; "" outside their CI."""
    token = os.environ.get(TOKEN, "")
    titled = f"Draft: {title}" if draft else title
    if "GITHUB_REPOSITORY" in os.environ:
        url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/pulls"
        headers = {"Authorization": f"Bearer {token}"}
        body = {"head": branch, "base": base, "title": title, "body": text, "draft": draft}
        status, answer = _post(url, headers, body)
        if status == 422 and draft and "draft" in str(answer).lower():  # private repositories may have none
            status, answer = _post(url, headers, {**body, "title": titled, "draft": False})
        return _address(status, answer, "html_url")
    if "CI_PROJECT_ID" in os.environ:
        url = f"{os.environ['CI_API_V4_URL']}/projects/{os.environ['CI_PROJECT_ID']}/merge_requests"
        body = {"source_branch": branch, "target_branch": base, "title": titled, "description": text}
        return _address(*_post(url, {"PRIVATE-TOKEN": token}, body), "web_url")
    return ""


def _address(status: int, answer: Any, key: str) -> str:
    if status < 300 and isinstance(answer, dict) and key in answer:
        return str(answer[key])
    rights = f"{TOKEN} must be a secret of the CI's, of a token that may push and open pull requests."
    fix = rights if status in {401, 403, 404} else "See what the service says; the update can be tried again."
    raise ProjectError(f"the pull request could not be opened: {status} {str(answer)[:500]}", fix)


def _post(url: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
    """Send JSON, and give the status and what was answered; 0 where nobody answers."""
    sent = {**headers, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), sent)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        return 0, error
