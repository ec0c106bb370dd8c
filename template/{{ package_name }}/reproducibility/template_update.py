"""`just template-update`: its command line."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from . import pull_request, template, update
from .merge import Kind
from .project import ROOT, ProjectError, command_line

UNDO = "git reset --quiet -- . && git checkout --quiet -- . && git clean --quiet -fd -- ."


def main(project: Path = ROOT, arguments: list[str] | None = None) -> int:
    """Update a project from its template.

    Parameters
    ----------
    project : Path
        The project's folder.
    arguments : list of str, optional
        The command line; that of the process by default.

    Returns
    -------
    int
        0 if nothing is left to do, 1 if something is, or if `--check` found something to bring.
    """
    parser = argparse.ArgumentParser(
        prog="just template-update",
        description="Bring the template's later changes. No line of yours is lost: files that are yours are not "
        "touched, the template's are merged, and where both sides changed the same lines, both stand between markers.",
    )
    parser.add_argument("version", nargs="?", help="a version of the template; its newest release by default")
    parser.add_argument("--check", action="store_true", help="only say what would be brought; exit code 1 if anything")
    parser.add_argument("--data", "-d", action="append", default=[], metavar="NAME=VALUE", help="change an answer")
    parser.add_argument("--pull-request", action="store_true", help="on a branch of its own, pushed and proposed")
    given = parser.parse_args(arguments)
    answers = dict(_pair(data) for data in given.data)
    # As Ctrl-C, so that what was begun is taken back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not given.check:
        update.require_clean(project)
    prepared = update.prepare(project, given.version, answers)
    made = template.origin(project)
    if prepared is None:
        print(f"Version {made.version} of the template is the newest: nothing to bring.")
        return 0
    print(f"template {prepared.old} -> {prepared.new}  ({made.source})\n\n{prepared.news}")
    if given.check:
        print(f"What an update would do:\n{prepared.report()}")
        return 1
    if given.pull_request:
        return pull_request.propose(project, prepared)
    print(f"Updating. To undo it: {UNDO}\n", flush=True)
    recipes = update.perform(project, prepared)
    print(prepared.report())
    conflicts = any(change.kind is Kind.CONFLICTING for change in prepared.changes)
    left = recipes if conflicts else update.run_recipes(project, recipes)
    if prepared.open or left:
        print(f"\nLeft to do:\n{prepared.instructions(left)}")
        return 1
    print("\nNothing is left to do. Look at it with `git diff`, then commit it.")
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ProjectError(f"--data {text} gives no value.", "--data NAME=VALUE", exit_code=64)
    return name, value


if __name__ == "__main__":
    command_line(main)
