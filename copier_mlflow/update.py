"""Bring the template's later changes into a project, and lose no line of its user's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import journal, leftovers, locks, merge, moved, template
from .errors import ProjectError
from .git import follows, run_git
from .merge import Change, File, Kind
from .scratch import temporary_folder

#: Answers that cannot change any more, with the reason.
FIXED = {
    "framework": "your model and your training are written for it; begin a project with the other, and bring your code",
    "task": "your model and your training are written for it; begin a project with the other, and bring your code",
    "package_name": "it names the folder of your code, and stands in its imports and in the record of every run",
    "seed": "it stands in confs/train.yaml, which is yours: change it there",
    "license": "LICENSE is yours: change it there, and `license` in pyproject.toml",
}
#: What is left to a person, and how to do it.
OPEN = {
    Kind.CONFLICTING: "edit what stands between the markers, then `git add` it",
    Kind.BLOCKED: "see what the template changed, below, and do with it what you want",
    Kind.MOVED: "see what the template changed, below, and take over what you want",
    Kind.RETIRED: "see what you changed, below: bring it to where the code is now, if you need it, and delete the file",
}
#: So many files have a line each; more are told together.
FEW = 5
#: Lines of a terminal that are told of retired modules before the rest is left to a command.
SCREEN = 24


@dataclass(frozen=True)
class Update:
    """What an update brings.

    Parameters
    ----------
    old, new : str
        The versions.
    news : str
        The changelog between them.
    changes : list of Change
        What happens to every file that does not stay as it is.
    answers : list of str
        A line for every answer that is new or changes.
    """

    old: str
    new: str
    news: str
    changes: list[Change]
    answers: list[str]

    @property
    def open(self) -> list[Change]:
        """What is left to a person."""
        return [change for change in self.changes if change.kind in OPEN]

    def of_kind(self, kind: Kind) -> list[Change]:
        """Choose the changes of one kind."""
        return [change for change in self.changes if change.kind is kind]

    def report(self) -> str:
        """Say what happens to the files: to one a line, to many together; those that nobody had edited are counted."""
        lines = [f"  {'answer':<12} {answer}" for answer in self.answers]
        for kind in Kind:
            changes = self.of_kind(kind)
            if kind is Kind.UPDATED:
                updated = sum(change.path != template.ANSWERS for change in changes)
                lines += (
                    [f"  {kind:<12} {updated} file{'s' * (updated != 1)} that you had not edited"] if updated else []
                )
            elif len(changes) <= FEW:
                lines += [f"  {kind:<12} {change.path}{f': {change.note}' * bool(change.note)}" for change in changes]
            else:
                lines.append(_together(kind, changes))
        return "\n".join(lines)

    def instructions(self) -> str:
        """Say what to do about files, with the change that is to be taken over; "" if there are none."""
        lines = []
        for kind, what in OPEN.items():
            paths = [change.path for change in self.of_kind(kind)]
            lines += [f"  {kind} {shorten(paths)}: {what}"] if paths else []
        unseen = []
        for change in self.open:
            if change.kind is not Kind.CONFLICTING:
                shown = merge.to_take_over(change).splitlines()
                if change.kind is Kind.RETIRED and len(lines) + len(shown) > SCREEN:
                    unseen.append(change.path)
                else:
                    lines += ["", *shown]
        if unseen:
            lines.append(f"\nWhat you changed in {shorten(unseen)}: just template-diff --from {self.old} FILE")
        return "\n".join(lines)


def prepare(project: Path, version: str | None = None, answers: Mapping[str, str] | None = None) -> Update | None:
    """Work an update out; the project stays as it is.

    Parameters
    ----------
    project : Path
        The project's folder.
    version : str, optional
        A version of the template; its newest release by default.
    answers : Mapping of str, optional
        Answers that change.

    Returns
    -------
    Update or None
        None if there is nothing to bring.

    Raises
    ------
    ProjectError
        If template or version cannot be had, the version is older, or an answer cannot change.
    """
    made = template.origin(project)
    answers = answers or {}
    changed = {name: value for name, value in answers.items() if str(made.answers.get(name)) != value}
    _refuse_fixed(made.answers, changed)
    with temporary_folder("template") as folder:
        source = template.Template(made.source, folder / "clone")
        wanted = version or (made.version if answers else source.newest())
        before, after = source.commit(made.version), source.commit(wanted)
        package = str(made.answers.get("package_name"))
        if not changed and (before == after or (version is None and follows(before, after, source.folder))):
            left = leftovers.find(project, source, before, package)
            return Update(made.version, made.version, "", merge.in_order(left), []) if left else None
        if before != after and follows(before, after, source.folder):
            raise ProjectError(
                f"{wanted} is older than {made.version}, which this project has.",
                f"To go back to an earlier state of the project, use git: git log --oneline {template.ANSWERS}",
            )
        old, new = folder / "old", folder / "new"
        source.render_old(made, old)
        is_yours = source.render_new(made, after, changed, new)
        now = template.origin(new)
        unknown = changed.keys() - now.answers.keys()
        if unknown:
            known = ", ".join(name for name in now.answers if name not in FIXED)
            raise ProjectError(
                f"no question {', '.join(unknown)} is asked.", f"These can change: {known}", exit_code=64
            )
        _refuse_fixed(made.answers, now.answers)
        remembered = _remember(*(merge.read(side, template.ANSWERS) for side in (old, project, new)))
        for rendered in (old, new):
            (rendered / template.ANSWERS).unlink()
        planned = merge.plan(old, new, project, is_yours, (made.version, now.version))
        paths = {change.path for change in planned}
        left = [change for change in leftovers.find(project, source, after, package) if change.path not in paths]
        changes = merge.in_order([*moved.tell(planned, source, after, package), *left, remembered])
        return Update(made.version, now.version, source.news(before, after), changes, _tell(made.answers, now.answers))


def perform(project: Path, update: Update) -> list[str]:
    """Write an update into a project, and bring locks and environment in step: all of it or nothing.

    Parameters
    ----------
    project : Path
        The project's folder, with a clean working tree.
    update : Update
        What `prepare` gave.

    Returns
    -------
    list of str
        The recipes to run next.

    Raises
    ------
    ProjectError
        If the locks cannot be compiled; the project is then as it was.
    """
    require_clean(project)
    meanwhile = [change.path for change in update.changes if merge.read(project, change.path) != change.yours]
    if meanwhile:
        raise ProjectError(f"{', '.join(meanwhile)} changed meanwhile.", "Commit that, then update again.")
    files = merge.results(update.changes)
    before = {change.path: change.yours for change in update.changes if change.path in files}
    before |= {lock: merge.read(project, lock) for lock in (*locks.LOCKS, *locks.MORE)}
    known = {path: file for path, file in files.items() if path not in (*locks.LOCKS, *locks.MORE)}
    with journal.kept(project, before, known):
        merge.write(project, files)
        merge.mark(project, update.changes)
        # What the dependencies are is open, where they are in conflict.
        is_settled = all(change.path != "pyproject.toml" for change in update.open)
        in_step = is_settled and locks.bring_in_step(project, before.get("pyproject.toml"))
    if not in_step:
        return ["lock", "setup", "check"]
    stale = any(
        merge.read(project, path) != before[path] for path in (*locks.LOCKS, "python_env.yaml") if path in before
    )
    return ["setup", "check"] if stale or not (project / ".venv").exists() else ["check"]


def undo(project: Path) -> str:
    """Give the command that takes an update back, with everything else that was not committed."""
    restore = "git restore --source=HEAD --staged --worktree -- . && git clean --quiet -fd -- ."
    return f"cd {shlex.quote(str(project))} && {restore}"


def run_recipes(project: Path, recipes: list[str]) -> list[str]:
    """Run recipes of a project, one after another, and give those that are left from the first that fails."""
    for number, recipe in enumerate(recipes):
        print(f"\njust {recipe}", flush=True)
        try:
            code = subprocess.run([_just(), recipe], cwd=project).returncode
        except KeyboardInterrupt:
            print(f"The update is written. Left to do: {show_recipes(recipes[number:])}")
            raise
        if code:
            return recipes[number:]
    return []


def shorten(paths: list[str]) -> str:
    """Name files, or say how many they are."""
    return ", ".join(paths) if len(paths) <= FEW else f"{len(paths)} files"


def _together(kind: Kind, changes: list[Change]) -> str:
    """Tell of many files at once: by their names, or by their folders where nothing of anybody's is in them."""
    paths = [change.path for change in changes]
    if kind in {Kind.NEW, Kind.DELETED}:
        folders = Counter("/".join(path.split("/")[:2]) for path in paths)
        text = ", ".join(f"{number} in {folder}/" if number > 1 else folder for folder, number in folders.items())
    else:
        folder = os.path.commonpath(paths)
        told = [f"{change.path}{f': {change.note}' * bool(change.note)}" for change in changes]
        notes = {change.note for change in changes}
        if len(notes) == 1:
            told = [*paths[:-1], told[-1]]
        within = f"{folder}/" * bool(folder)
        text = f"in {within}: " * bool(folder) + "; ".join(told).replace(within, "")
    return textwrap.fill(text, 110, initial_indent=f"  {kind:<12} ", subsequent_indent=" " * 15, break_on_hyphens=False)


def _just() -> str:
    """Find `just`: the one that was used, the machine's, or the one that this tool's lock brings."""
    return os.environ.get("JUST") or shutil.which("just") or str(Path(sys.executable).with_name("just"))


def show_recipes(recipes: list[str]) -> str:
    """Write recipes as a person types them."""
    return " && ".join(f"just {recipe}" for recipe in recipes)


def require_commit(project: Path) -> None:
    """Make sure that git has a commit with the project in it.

    Raises
    ------
    ProjectError
        If there is no git, no repository, no commit, or the repository ignores the project.
    """
    try:
        run_git("cat-file", "-e", f"HEAD:./{template.ANSWERS}", folder=project)
    except ProjectError as error:
        raise ProjectError(
            "git has no commit of this project, so an update could not be undone.",
            'git init && git add -A && git commit -m "Start"',
        ) from error


def require_clean(project: Path) -> None:
    """Make sure that git has every line of a project's, so that nothing can be lost.

    Raises
    ------
    ProjectError
        If there is uncommitted work, also where git is told not to look for it, or no commit.
    """
    require_commit(project)
    status = ("status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none", "--", ".")
    dirty = os.fsdecode(run_git(*status, folder=project)).splitlines()
    if dirty:
        raise ProjectError(
            f"there is uncommitted work: {', '.join(line[3:] for line in dirty[:5])}{' ...' * (len(dirty) > 5)}.",
            "git add -A && git commit      or: git stash --include-untracked",
        )
    flags = os.fsdecode(run_git("ls-files", "-v", "--", ".", folder=project)).splitlines()
    hidden = [line[2:] for line in flags if line[0].islower() or line[0] == "S"]
    if hidden:
        raise ProjectError(
            f"git is told not to look at {', '.join(hidden[:5])}, so that edits of it could be lost.",
            "git update-index --no-assume-unchanged --no-skip-worktree FILE",
        )


def _remember(old: File | None, yours: File | None, new: File | None) -> Change:
    """Write the answers anew: what is in them besides is not the template's, and not kept."""
    before, mine = (re.sub(rb"(?m)^_.*\n", b"", file.content) if file else b"" for file in (old, yours))
    if before == mine:
        return Change(template.ANSWERS, Kind.UPDATED, "", new, old, yours, new)
    note = "written anew from the answers; what you wrote in it besides is in git's history only"
    return Change(template.ANSWERS, Kind.MERGED, note, new, old, yours, new)


def _refuse_fixed(before: Mapping[str, object], after: Mapping[str, object]) -> None:
    for name, reason in FIXED.items():
        if name in before and str(after.get(name, before[name])) != str(before[name]):
            raise ProjectError(f"{name} stays {before[name]!r}: {reason}.", f"Leave {name} out.", exit_code=64)


def _tell(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    lines = []
    for name, value in after.items():
        if name not in before:
            lines.append(f"{name}: {value!r}, a new question; another answer: just template-update --data {name}=...")
        elif value != before[name]:
            lines.append(f"{name}: {value!r} instead of {before[name]!r}")
    return lines
