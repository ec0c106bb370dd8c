"""A table of projects: which version each has, what it changed of the template's, and what was last proven."""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
import sys
import tomllib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

import jinja2
import pathspec
import rich.box
import rich.markup
import yaml
from rich.console import Console
from rich.table import Table

from . import template
from .errors import ProjectError
from .git import follows, run_git
from .scratch import temporary_folder
from .template import Template


@dataclass(frozen=True)
class Status:
    """What there is to know of one project.

    Parameters
    ----------
    project : str
        Its folder, as given.
    version : str
        The template's version that it has, and the newest where that is another.
    drift : str
        The files of the template's that it changed or lacks; those with answers in them are not looked at.
    verified : str
        The last time that a run of its was reproduced, and the verdict.
    """

    project: str
    version: str
    drift: str
    verified: str


def show(paths: Iterable[Path]) -> None:
    """Print a line for every project."""
    with temporary_folder("status") as folder:
        clones = Clones(folder)
        table = Table("project", "version", "drift", "last verified", box=rich.box.SIMPLE_HEAD)
        for path in paths:
            table.add_row(*map(rich.markup.escape, astuple(look(path, clones))))
    # Whoever reads it by a program gets a line for each.
    Console(width=None if sys.stdout.isatty() else 1000, highlight=False).print(table)


class Clones:
    """Clones of templates, one for each address, made when it is first asked for.

    Parameters
    ----------
    folder : Path
        Where they go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Template | ProjectError] = {}

    def get(self, source: str) -> Template:
        """Give the clone of a template.

        Raises
        ------
        ProjectError
            If it cannot be cloned: each time that it is asked for.
        """
        if source not in self._made:
            try:
                self._made[source] = Template(source, self._folder / str(len(self._made)))
            except ProjectError as error:
                self._made[source] = error
        found = self._made[source]
        if isinstance(found, ProjectError):
            raise found
        return found


def look(project: Path, clones: Clones) -> Status:
    """Look at one project; what cannot be read is said in its place.

    Parameters
    ----------
    project : Path
        Its folder.
    clones : Clones
        The templates that were seen so far.
    """
    if not project.exists():
        return Status(str(project), "unknown", "", "no such folder")
    try:
        made = template.origin(project)
    except ProjectError as error:
        return Status(str(project), "unknown", "", error.cause)
    try:
        source = clones.get(made.source)
        newest, commit = source.newest(), source.commit(made.version)
        behind = template.is_newer(newest, made.version) and not follows(commit, source.commit(newest), source.folder)
        version = f"{made.version}, {newest} is out" if behind else made.version
        drift = _drift(project, _static_files(source, commit, json.dumps(made.answers, sort_keys=True)))
    except ProjectError as error:
        version, drift = made.version, error.cause
    return Status(str(project), version, drift, _verified(project))


def _drift(project: Path, expected: dict[str, str]) -> str:
    changed = [path for path, name in expected.items() if _blob(project / path) != name]
    shown = ", ".join(changed[:3]) + ", ..." * (len(changed) > 3)
    return f"{len(changed)}: {shown}" if changed else "none"


@functools.cache
def _static_files(source: Template, commit: str, answers: str) -> dict[str, str]:
    """Name the template's own files in a project, with git's hash of each; those that hold answers are left out."""
    config = yaml.safe_load(run_git("cat-file", "blob", f"{commit}:copier.yml", folder=source.folder))
    # Questions that a later version asks have no part in paths that an earlier one has.
    values = dict.fromkeys(name for name in config if not name.startswith("_")) | json.loads(answers)
    environment = jinja2.Environment()
    yours = [environment.from_string(pattern).render(values) for pattern in config["_skip_if_exists"]]
    is_yours = pathspec.GitIgnoreSpec.from_lines(yours).match_file
    files = {}
    listed = run_git("ls-tree", "-r", commit, "template/", folder=source.folder).decode()
    for line in listed.splitlines():
        entry, path = line.split("\t")
        if not path.endswith(".jinja"):
            parts = [environment.from_string(part).render(values) for part in path.split("/")[1:]]
            rendered = "/".join(part for part in parts if part != ".")
            if all(parts) and not is_yours(rendered):
                files[rendered] = entry.split()[2]
    return files


def _blob(file: Path) -> str:
    """Give git's hash of a file as it would be committed; line ends do not count."""
    if not file.is_file():
        return ""
    content = file.read_bytes().replace(b"\r\n", b"\n")
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _verified(project: Path) -> str:
    try:
        options = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["tool"]["reproducibility"]
        store = str(options["tracking-uri"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return "pyproject.toml names no store"
    if not store.startswith("sqlite:///"):
        return f"see {template.public(store)}"
    database = project / store.removeprefix("sqlite:///")
    if not database.exists():
        return "no runs yet"
    asked = """
        SELECT verdict.value, moment.value FROM tags AS moment
        JOIN tags AS verdict ON verdict.run_uuid = moment.run_uuid AND verdict.key = 'repro.verdict'
        WHERE moment.key = 'repro.verified_at' ORDER BY moment.value DESC LIMIT 1
    """
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute(asked).fetchone()
    except sqlite3.Error as error:
        return f"{database.name} cannot be read: {error}"
    return f"{found[0]}, {found[1]}" if found else "never"
