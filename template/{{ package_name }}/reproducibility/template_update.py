"""`just template-update`: its command line."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from . import interrupts, journal, pull_request, template, tracking, update
from .merge import Kind
from .project import ROOT, ProjectError, command_line


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
        0 if nothing is left to do, or a pull request says what is; 1 if something is, or if `--check` found something
        to bring.
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
    for number in interrupts.numbers():  # as Ctrl-C, so that what was begun is taken back
        signal.signal(number, signal.default_int_handler)
    if given.pull_request:
        return pull_request.propose(project, given.version, answers)
    _settle(project, given.check)
    update.require_commit(project) if given.check else update.require_clean(project)
    made = template.origin(project)
    prepared = update.prepare(project, given.version, answers)
    if prepared is None:
        print(f"This project has version {made.version} of the template: nothing to bring.")
        return 0
    print(f"template {prepared.old} -> {prepared.new}  ({tracking.public(made.source)})\n\n{prepared.news}")
    print(f"What an update {'would do' if given.check else 'does'}:\n{prepared.report()}")
    if given.check:
        return 1
    if prepared.open:
        print(f"\nLeft to you:\n{prepared.instructions()}")
    print(f"\nUpdating. To undo it, with what you do after it: {update.undo(project)}", flush=True)
    left = update.perform(project, prepared)
    if not any(change.kind is Kind.CONFLICTING for change in prepared.changes):
        left = update.run_recipes(project, left)
    if prepared.open or left:
        files = [f"what is said above of {', '.join(change.path for change in prepared.open)}"] if prepared.open else []
        print(f"\nLeft to do: {', then: '.join([*files, *([update.show_recipes(left)] if left else [])])}")
        return 1
    print("\nNothing is left to do. Look at it with `git status` and `git diff HEAD`, then commit it.")
    return 0


def _settle(project: Path, check: bool) -> None:
    """Take an update back that was cut off, before another begins."""
    if not journal.is_unfinished(project):
        return
    if check:
        raise ProjectError("an update of the template was cut off.", journal.FIX)
    print(
        "The last update was cut off. It is taken back:", *journal.take_back(project), "done.", sep="\n  ", flush=True
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ProjectError(f"--data {text} gives no value.", "--data NAME=VALUE", exit_code=64)
    return name, value


if __name__ == "__main__":
    command_line(main)
