"""Reproduce a run from its ID alone: execute it again, compare to the last bit, and keep the proof."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..common import digest, exit_codes, terminal
from ..common.errors import ProjectError
from ..common.interrupts import Interrupts
from ..common.project import MAIN, ROOT
from ..common.scratch import temporary_folder
from ..datasets import verification
from ..datasets.manifest import Dataset
from ..environment import mlflow_environment
from ..randomness import launch
from ..record import lookup, reader
from ..record.schema import PATCH, Record
from ..source import git
from ..store import tracking
from . import refusals, replay, replay_image, report, show, verdict
from .compare import Comparison, compare
from .replay import Recipe
from .replay_image import Containers


def reproduce(run_id: str, dry_run: bool = False, container: bool | None = None) -> int:
    """Execute a run again, compare, and give the exit code of the verdict; of a dry run, only tell what would be done.

    Parameters
    ----------
    run_id : str
        What a person calls the run.
    dry_run : bool, default False
        Whether nothing is to be done.
    container : bool, optional
        Whether it is done in a container; by default as the run was, where that can be.

    Raises
    ------
    ProjectError
        With exit code 2 if it cannot be tried: commit, data, lock or record is missing.
    """
    tracking.connect()
    run = lookup.get_run(run_id)
    with scratch_folder() as scratch:
        try:
            record = reader.download(run, scratch / "original")
            refusals.require_git(record)
            containers = replay_image.containers(record, container)
            if dry_run:
                show.show_plan(record, list(plan(record, scratch, containers)))
                return 0
            comparison = prove(record, scratch, containers=containers)
        except ProjectError as error:
            if not dry_run:
                verdict.refuse(run, error)
            raise
    return exit_codes.EXIT_CODES[comparison.verdict]


def prove(record: Record, scratch: Path, variables: dict[str, str] | None = None, **options: Any) -> Comparison:
    """Replay a run with what must not matter (variables, a umask, a container), keep it, and show what came of it."""
    comparison = again(record, scratch, variables, **options)
    show.show(comparison, keep(comparison, scratch))
    return comparison


def again(record: Record, scratch: Path, variables: dict[str, str] | None = None, **options: Any) -> Comparison:
    """Replay a run, and compare."""
    return compare(record, replay.execute(Recipe.of(record, variables, **options), scratch / "replay"))


@terminal.waiting("keeping the proof")
def keep(comparison: Comparison, scratch: Path) -> str:
    """Keep a replay as a run, with its report and the verdict, and give that run; "" where the store takes none."""
    page = scratch / "report.html"
    page.write_text(report.report(comparison), "utf-8")
    return verdict.keep(comparison, page, scratch / "replay" / replay.LOG)


def plan(record: Record, scratch: Path, containers: Containers | None = None) -> Iterator[tuple[str, str]]:
    """Tell what a reproduction would do, without doing it: a part and what happens to it, in turn."""
    code = record.content["code"]
    refusals.require_confined(record)
    here = git.has_commit(code["commit"])
    if here:
        yield "code", f"commit {code['commit']}, which is here"
    else:
        places = " or ".join(map(git.public, git.remotes(code))) or "nowhere: no remote"
        yield "code", f"commit {code['commit']}, fetched from {places}"
    if code["patch"]:
        count = (record.folder / PATCH).read_bytes().count(b"diff --git ")
        yield "", f"and {count} uncommitted files, put back from the record"
    for inner in code.get("repositories", []):
        changed = ", with uncommitted files from the record" if inner["patch"] else ""
        yield "", f"and {inner['path']}, commit {inner['commit']}{changed}"
    for entry in code["left_out"]:
        whole = digest.fits(ROOT / entry["path"], entry["digest"])
        yield "", f"and {entry['path']}, which only this folder {'has' if whole else 'had: MISSING'}"
    for name, content in record.content["data"].items():
        entry = Dataset(name=name, **content)
        here = verification.fits(entry, entry.file)
        elsewhere = "of the commit, else of the tracking store, else of " + entry.entry()["source"]
        files = f"{entry.files:,} files, " if entry.files else ""
        yield f"data {name}", f"{entry.path}, {files}{entry.size:,} bytes, {'of this folder' if here else elsewhere}"
    if image := replay_image.plan(record, containers):
        yield "image", image
    project = replay.check_out(record, scratch / "plan") if here and not containers else None
    if project:
        replay.put_lock(project, record)
        environment = mlflow_environment.current(project)
        yield (
            "environment",
            f"{environment}, {'verified anew' if environment.exists() else 'built from the recorded lock'}",
        )
    for name, entry in record.content.get("inputs", {}).items():
        yield f"input {name}", f"{entry['uri']}, {entry['size']:,} bytes, by its digest"
    yield "settings", ", ".join(f"{name}={value}" for name, value in record.conf.items())
    step = "train" if record.step == MAIN else f"step {record.step}"
    yield "command", f"python -m {record.content['project']} {step} --config CONF_OF_THE_RECORD"
    yield "result", f"one new run in {tracking.public(tracking.store_uri())}, tagged repro.reproduces={record.name}"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for replays, removed whatever happens; `just doctor` removes that of a process that was killed."""
    with Interrupts(launch.is_command()) as interrupts, temporary_folder("replay") as folder:
        interrupts.allow()
        try:
            yield folder
        finally:
            interrupts.hold()
