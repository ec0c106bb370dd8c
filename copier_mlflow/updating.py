"""An update of one project, from what is asked to what is left to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import journal, template, update
from .errors import ProjectError
from .merge import Kind


def run(project: Path, version: str | None, answers: Mapping[str, str], check: bool = False) -> int:
    """Update a project from its template, saying what happens.

    Parameters
    ----------
    project : Path
        The project's folder.
    version : str or None
        A version of the template; its newest release by default.
    answers : Mapping of str
        Answers that change.
    check : bool
        Only say what would be brought.

    Returns
    -------
    int
        0 if nothing is left to do; 1 if something is, or if `check` found something to bring.

    Raises
    ------
    ProjectError
        If it cannot be updated; it is then as it was.
    """
    _settle(project, check)
    update.require_commit(project) if check else update.require_clean(project)
    made = template.origin(project)
    prepared = update.prepare(project, version, answers)
    if prepared is None:
        print(f"This project has version {made.version} of the template: nothing to bring.")
        return 0
    versions = prepared.new if prepared.old == prepared.new else f"{prepared.old} -> {prepared.new}"
    print(f"template {versions}  ({template.public(made.source)})\n\n{prepared.news}")
    print(f"What an update {'would do' if check else 'does'}:\n{prepared.report()}")
    if check:
        return 1
    if prepared.open:
        print(f"\nLeft to you:\n{prepared.instructions()}")
    print(f"\nUpdating. To undo it, with what you do after it: {update.undo(project)}", flush=True)
    left = update.perform(project, prepared)
    if not any(change.kind is Kind.CONFLICTING for change in prepared.changes):
        left = update.run_recipes(project, left)
    if prepared.open or left:
        paths = [change.path for change in prepared.open]
        files = [f"what is said above of {update.shorten(paths)}"] if paths else []
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
