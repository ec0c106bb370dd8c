"""Reproduce a run from its ID alone: execute it again, compare to the last bit, and keep the proof."""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from . import alive, compare, conf, digest, env_cache, git, launch, metrics, records, replay, report, tracking
from .active import begun
from .compare import Comparison
from .datasets import Dataset
from .interrupts import Interrupts
from .project import CANNOT_BE_TRIED, NOT_ITS_RUNS, ROOT, ProjectError
from .record import RECORD
from .records import Record
from .replay import Recipe
from .scratch import temporary_folder

#: Verdicts without a replay, by the exit code of the error that says why.
REFUSALS = {CANNOT_BE_TRIED: compare.NOT_REPRODUCIBLE, NOT_ITS_RUNS: compare.DIFFERENT}


def reproduce(run_id: str, dry_run: bool = False) -> int:
    """Execute a run again and compare.

    Parameters
    ----------
    run_id : str
        The run, or what stands for it: see `records.get_run`.
    dry_run : bool, default False
        Only tell what would be done.

    Returns
    -------
    int
        The exit code of the verdict, see `compare.EXIT_CODES`.

    Raises
    ------
    ProjectError
        With exit code 2 if it cannot be tried: commit, data, lock or record is missing.
    """
    tracking.connect()
    run = records.get_run(run_id)
    with scratch_folder() as scratch:
        try:
            record = records.download(run, scratch / "original")
            replay.require_git(record)
            records.require_own(record, run)
            if dry_run:
                report.show_plan(record, list(plan(record, scratch)))
                return 0
            comparison = prove(record, scratch)
        except ProjectError as error:
            if error.exit_code in REFUSALS and not dry_run:
                with _as_far_as_allowed():
                    _tag(run.info.run_id, REFUSALS[error.exit_code])
            raise
    return compare.EXIT_CODES[comparison.verdict]


def prove(record: Record, scratch: Path, variables: dict[str, str] | None = None, umask: int = -1) -> Comparison:
    """Replay a run, show what came of it, and keep the replay as a run beside the original.

    Parameters
    ----------
    record : Record
        The original.
    scratch : Path
        A folder for the replay.
    variables : dict of str to str, optional
        Environment variables of the replay that must not matter.
    umask : int, optional
        File mode mask of the replay.

    Returns
    -------
    Comparison
        The original beside its replay.
    """
    comparison = Comparison(record, replay.execute(Recipe.of(record, variables, umask), scratch / "replay"))
    page = scratch / "report.html"
    page.write_text(report.page(comparison), "utf-8")
    replayed = ""
    with _as_far_as_allowed():
        replayed = _keep(comparison, page, scratch / "replay" / "replay.log")
        _tag(record.name, comparison.verdict, replayed)
    report.show(comparison, replayed)
    return comparison


def plan(record: Record, scratch: Path) -> Iterator[tuple[str, str]]:
    """Tell what a reproduction would do, without doing it: a part and what happens to it, in turn."""
    code = record.content["code"]
    replay.require_confined(record)
    here = git.has_commit(code["commit"])
    if here:
        yield "code", f"commit {code['commit']}, which is here"
    else:
        places = " or ".join(map(git.public, git.remotes(code))) or "nowhere: no remote"
        yield "code", f"commit {code['commit']}, fetched from {places}"
    if record.patch:
        yield "", f"and {record.patch.count(b'diff --git ')} uncommitted files, put back from the record"
    for inner in code.get("repositories", []):
        changed = ", with uncommitted files from the record" if inner["patch"] else ""
        yield "", f"and {inner['path']}, commit {inner['commit']}{changed}"
    for entry in code["left_out"]:
        whole = digest.fits(ROOT / entry["path"], entry["digest"])
        yield "", f"and {entry['path']}, which only this folder {'has' if whole else 'had: MISSING'}"
    for name, content in record.content["data"].items():
        entry = Dataset(name=name, **content)
        here = digest.fits(entry.file, entry.digest)
        elsewhere = "of the commit, else of the tracking store, else of " + entry.entry()["source"]
        yield f"data {name}", f"{entry.path}, {entry.size:,} bytes, {'of this folder' if here else elsewhere}"
    project = replay.check_out(record, scratch / "plan") if here else None
    if project:
        replay.put_lock(project, record)
        environment = env_cache.current(project)
        yield (
            "environment",
            f"{environment}, {'verified anew' if environment.exists() else 'built from the recorded lock'}",
        )
    yield "settings", ", ".join(f"{name}={value}" for name, value in record.conf.items())
    yield "command", f"python -m {record.content['project']} train --config CONF_OF_THE_RECORD"
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


@contextlib.contextmanager
def _as_far_as_allowed() -> Iterator[None]:
    """Keep in the store what it takes: to whom it gives only reading, or nothing any more, a verdict is one too."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        store = tracking.public(tracking.store_uri())
        why = str(error).replace(tracking.store_uri(), store).strip().partition("\n")[0][:300]
        print(f"notice: the verdict could not be kept in {store}: {why}", file=sys.stderr)


def _keep(comparison: Comparison, page: Path, log: Path) -> str:
    """Log a replay as one run of today's store: its record, settings, metrics and the report."""
    import mlflow

    record, content = comparison.b, comparison.b.content
    original = mlflow.get_run(comparison.a.name)
    name = f"reproduces {comparison.a.name[:8]}"
    with (
        Interrupts(last=False) as interrupts,  # which are held: a replay is kept whole
        alive.held() as tag,
        begun(interrupts, name, tag | {"repro.reproduces": comparison.a.name}, original.info.experiment_id) as run,
    ):
        mlflow.log_params(conf.flatten(record.conf))
        metrics.log(run.id, record.metrics)
        mlflow.log_artifacts(str(record.folder), "record")
        plots = record.folder.parent / "plots"
        if plots.exists():
            mlflow.log_artifacts(str(plots), "plots")
        mlflow.log_artifact(str(page))
        mlflow.log_artifact(str(log))
        mlflow.set_tags(
            {
                "repro.project": content["project"],
                "repro.seed": record.conf["seed"],
                "repro.commit": content["code"]["commit"],
                "repro.dirty": content["code"]["dirty"],
                "repro.environment": content["environment"]["lock"],
                "repro.data": json.dumps({name: entry["digest"] for name, entry in sorted(content["data"].items())}),
                "repro.record": digest.of_file(record.folder / RECORD),
                "repro.result": content["result"],
                "repro.verdict": comparison.verdict,
            }
        )
    return run.id


def _tag(run_id: str, verdict: str, replayed: str = "") -> None:
    """Note the verdict on the original; that it cannot be tried here does not undo an earlier proof."""
    import mlflow

    client = mlflow.MlflowClient()
    if verdict == compare.NOT_REPRODUCIBLE and "repro.verdict" in client.get_run(run_id).data.tags:
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    for name, value in {"verdict": verdict, "verified_by": replayed, "verified_at": now}.items():
        client.set_tag(run_id, f"repro.{name}", value)
    print(f"tagged repro.verdict = {verdict!r}", file=sys.stderr)
