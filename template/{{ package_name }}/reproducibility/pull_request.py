"""Propose an update of the template: a branch of its own, pushed, and a pull request with the report as its text."""

from __future__ import annotations

import dataclasses
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from . import merge, update
from .merge import Change, Kind
from .project import ProjectError
from .source import run_git

#: Of the CI's secrets: may push and open pull requests.
TOKEN = "TEMPLATE_UPDATE_TOKEN"  # noqa: S105
AUTHOR = ("-c", "user.name=Template update", "-c", "user.email=template-update@localhost", "-c", "commit.gpgSign=false")


def propose(project: Path, prepared: update.Update) -> int:
    """Push an update as a branch of its own and open a pull request; the branch that is checked out stays as it is.

    Where both sides changed the same lines yours stand, never markers, and the pull request is a draft.

    Parameters
    ----------
    project : Path
        The project's folder, with a clean working tree and a remote `origin`.
    prepared : Update
        What `update.prepare` gave.

    Returns
    -------
    int
        0, also if the update was proposed before.

    Raises
    ------
    ProjectError
        If it cannot be pushed or opened; nothing is left behind then.
    """

    def git(*arguments: str) -> str:
        return run_git(*arguments, folder=project).decode().strip()

    branch = f"template-update-{prepared.new}"
    if git("ls-remote", "--heads", "origin", f"refs/heads/{branch}"):
        print(f"{branch} was pushed before; delete it on the remote to propose the update anew.")
        return 0
    base = git("branch", "--show-current")
    if not base:
        raise ProjectError("no branch is checked out, so there is nothing to propose to.", "git switch main")
    git("switch", "--quiet", "--force-create", branch)
    try:
        left = update.run_recipes(project, update.perform(project, _without_markers(prepared)))
        text = describe(prepared, left)
        git("add", "--all", "--", ".")
        title = f"Update the template to {prepared.new}"
        git(*AUTHOR, "commit", "--quiet", "--no-verify", "--message", title)
        git("push", "--quiet", "origin", branch)
    finally:
        git("switch", "--quiet", "--force", base)
        git("branch", "--quiet", "--delete", "--force", branch)
    try:
        address = _open(branch, base, title, text, draft=bool(prepared.open or left))
    except BaseException:
        git("push", "--quiet", "--delete", "origin", branch)
        raise
    print(
        f"proposed as {address}"
        if address
        else f"{branch} is pushed. Open a pull request for it, with this text:\n\n{text}"
    )
    return 0


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
        parts.append(f"**{change.path}** ({change.kind}: {what}). What the template changed, to be taken over by hand:")
        parts.append(f"```diff\n{merge.template_change(change)}\n```")
    return "\n\n".join(parts)


def _without_markers(prepared: update.Update) -> update.Update:
    def settle(change: Change) -> Change:
        if change.kind is not Kind.CONFLICTING:
            return change
        return dataclasses.replace(change, result=merge.favour_yours(change), kind=Kind.MERGED)

    return dataclasses.replace(prepared, changes=[settle(change) for change in prepared.changes])


def _open(branch: str, base: str, title: str, text: str, draft: bool) -> str:
    """Open a pull request on GitHub or a merge request on GitLab, and give its address; "" outside their CI."""
    token = os.environ.get(TOKEN, "")
    if "GITHUB_REPOSITORY" in os.environ:
        url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/pulls"
        body = {"head": branch, "base": base, "title": title, "body": text, "draft": draft}
        return str(_post(url, {"Authorization": f"Bearer {token}"}, body)["html_url"])
    if "CI_PROJECT_ID" in os.environ:
        url = f"{os.environ['CI_API_V4_URL']}/projects/{os.environ['CI_PROJECT_ID']}/merge_requests"
        title = f"Draft: {title}" if draft else title
        body = {"source_branch": branch, "target_branch": base, "title": title, "description": text}
        return str(_post(url, {"PRIVATE-TOKEN": token}, body)["web_url"])
    return ""


def _post(url: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    sent = {**headers, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), sent)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found
    except (urllib.error.URLError, TimeoutError) as error:
        said = error.read().decode(errors="replace")[:500] if isinstance(error, urllib.error.HTTPError) else ""
        raise ProjectError(
            f"the pull request could not be opened: {error} {said}",
            f"{TOKEN} must be a secret of the CI's, of a token that may push and open pull requests.",
        ) from error
