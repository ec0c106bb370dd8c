"""`just fleet-status`: which version every project has, what it changed of the template's, and what was last proven."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import jinja2
import pathspec
import yaml

import contract
import harness
from releases import find, git

ROOT = Path(__file__).resolve().parents[1]


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


def look(project: Path, releases: dict[str, str]) -> Status:
    """Look at one project; what cannot be read is said in its place.

    Parameters
    ----------
    project : Path
        Its folder.
    releases : dict
        The commit of each release of the template, the oldest first.
    """
    try:
        origin = harness.load("template").origin(project)
    except harness.load("project").ProjectError as error:
        return Status(str(project), "unknown", "", error.cause if project.exists() else "no such folder")
    newest = list(releases)[-1]
    commit = releases.get(origin.version, origin.version)
    follows = harness.load("git").follows(commit, releases[newest], ROOT)
    behind = harness.load("template").is_newer(newest, origin.version) and not follows
    version = f"{origin.version}, {newest} is out" if behind else origin.version
    return Status(str(project), version, _drift(project, commit, origin.answers), _verified(project))


def _drift(project: Path, commit: str, answers: dict[str, Any]) -> str:
    try:
        expected = _static_files(commit, json.dumps(answers, sort_keys=True))
    except subprocess.CalledProcessError:
        return f"this repository has no commit {commit}"
    changed = [path for path, name in expected.items() if _blob(project / path) != name]
    shown = ", ".join(changed[:3]) + ", ..." * (len(changed) > 3)
    return f"{len(changed)}: {shown}" if changed else "none"


@functools.cache
def _static_files(commit: str, answers: str) -> dict[str, str]:
    """Name the template's own files in a project, with git's hash of each; those that hold answers are left out."""
    config = yaml.safe_load(git(ROOT, "show", f"{commit}:copier.yml"))
    # Questions that a later version asks have no part in paths that an earlier one has.
    values = dict.fromkeys(contract.questions(config)) | json.loads(answers)
    environment = jinja2.Environment()
    yours = [environment.from_string(pattern).render(values) for pattern in config["_skip_if_exists"]]
    is_yours = pathspec.GitIgnoreSpec.from_lines(yours).match_file
    files = {}
    for line in git(ROOT, "-c", "core.quotePath=false", "ls-tree", "-r", commit, "template/").splitlines():
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
        return f"see {harness.load('tracking').public(store)}"
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


def main() -> int:
    """Print a line for every project."""
    parser = argparse.ArgumentParser(
        prog="just fleet-status",
        description="A table of projects: the template's version, files of the template's that they changed, and the "
        "last run that was verified.",
    )
    parser.add_argument("paths", nargs="+", type=Path, help="the folders of the projects")
    given = parser.parse_args()
    releases = find(ROOT)
    rows = [("project", "version", "drift", "last verified"), *(astuple(look(path, releases)) for path in given.paths)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
