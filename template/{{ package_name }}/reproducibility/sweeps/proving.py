"""`just reproduce SWEEP`: whether its plan follows from its conf, and its results are those of its runs and repeat."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.text import Text

from ..common import digest, exit_codes, terminal
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED, DIFFERENT, IDENTICAL
from ..proof import refusals, replay_image, reproduce
from ..proof.compare import worst
from ..proof.page import Digest, Section, page
from ..record import description, lookup, makers, reader
from ..record.metrics import same
from ..store import tracking
from . import code, definition, rows
from .course import Course
from .description import BEST, TAG, Description
from .ledger import Ledger, key_of, rows_of
from .planner import load
from .rows import Row

#: The page of a verdict, an artifact of the sweep's run.
PAGE = "sweep/verdict.html"

Rows = dict[tuple[int, int], Row]
#: What was held to what, and what came of it.
Proven = tuple[str, str, str]


def is_sweep(run_id: str) -> bool:
    """Tell whether a run is a sweep's own."""
    tracking.connect()
    return TAG in lookup.get_run(run_id).data.tags


def reproduce_sweep(run_id: str, sample: int = 0, container: bool | None = None) -> int:
    """Derive the plan of a sweep again, hold its results to its runs, execute some of these, and give the exit code.

    Parameters
    ----------
    run_id : str
        What a person calls the sweep's run.
    sample : int
        So many runs of trials are executed again: those first that were not yet.
    container : bool, optional
        Whether that is done in containers; by default as each run was.

    Raises
    ------
    ProjectError
        With exit code 2, if it cannot be tried: the sweep is not done, or its plan is that of another Optuna.
    """
    tracking.connect()
    run = lookup.get_run(run_id)
    about = Description.of(run)
    if run.info.status != "FINISHED":
        raise ProjectError(
            f"the sweep {run.info.run_id} is {run.info.status}, and has no result yet.",
            f"just sweep --resume {run.info.run_id}",
            CANNOT_BE_TRIED,
        )
    runs = Ledger(run.info.experiment_id, run.info.run_id).runs()
    found = rows_of(runs.values())
    remarks = [*_plan(about, found), *_results(about, run, runs, found)]
    verdicts = [DIFFERENT if remarks else IDENTICAL]
    proven: list[Proven] = [("plan and results", f"{len(found):,} runs of trials", verdicts[0])]
    _say(*proven[0])
    for row in _chosen(found.values(), runs, sample):
        if DIFFERENT in verdicts:
            break
        verdict, told = _execute(runs[row.run], container)
        proven.append((f"trial {row.number}", Digest(row.run), verdict))
        _say(f"trial {row.number}", f"run {row.run}", verdict)
        verdicts.append(verdict)
        remarks += told
    for remark in remarks:
        terminal.console().print(Text(f"  {remark}"))
    verdict = worst(verdicts)
    how = f"plan and results; {len(verdicts) - 1} of {len(found)} runs executed"
    _keep(about, run, verdict, how, remarks, proven)
    if not sample:
        print(f"To execute some of its runs again: just reproduce {run.info.run_id[:8]} --sample 3")
    return exit_codes.EXIT_CODES[verdict]


def _keep(about: Description, run: Any, verdict: str, how: str, remarks: list[str], proven: list[Proven]) -> None:
    """Note on the sweep's run what was proven of it, with a page."""
    import mlflow

    client, info = mlflow.MlflowClient(), run.info
    said = [f"The plan and the results of sweep {info.run_id[:8]}: {how}.", *remarks]
    client.log_text(info.run_id, certificate(about, run, verdict, said, proven), PAGE)
    leads = description.link(PAGE, info.experiment_id, info.run_id, PAGE)
    noted = description.judged(client.get_run(info.run_id).data.tags, f"**{verdict}**: {how}. More in {leads}.")
    for name, value in ({"repro.verdict": verdict, "repro.verified_by": how} | noted).items():
        client.set_tag(info.run_id, name, value)


def certificate(about: Description, run: Any, verdict: str, said: list[str], proven: Iterable[Proven]) -> str:
    """Write what was proven of a sweep as one HTML page."""
    sweep, tags = about.definition, run.data.tags
    facts = [
        ("run", Digest(run.info.run_id)),
        ("trials", about.trials),
        ("metric", f"{sweep.direction} {sweep.metric}" if sweep.metric else "none"),
        ("constraints.txt", Digest(about.lock)),
        ("Optuna", about.optuna),
        ("best run", Digest(tags[BEST]) if BEST in tags else "none"),
        ("result", Digest(tags.get("repro.result", "none"))),
    ]
    sections = [
        Section("What was searched", (), ("", "the sweep"), facts),
        Section("What was proven", (), ("what", "of", "verdict"), [*proven]),
    ]
    return page("Certificate of a sweep", verdict, verdict, said, sections)


def _plan(about: Description, found: Rows) -> Iterator[str]:
    """Name the trials whose values do not follow from the sweep's conf and the results before them."""
    sweep = about.definition
    metric = key_of(sweep.metric)
    course = Course(sweep)
    planned: set[tuple[int, int]] = set()
    for points in course.batches():
        keys = {(number, repeat) for number in points for repeat in range(sweep.repeats)}
        planned |= keys
        if missing := sorted(keys - found.keys()):
            yield f"trial {missing[0][0]} is planned, and there is no run of it"
            return
        parted = [number for number, repeat in sorted(keys) if found[number, repeat].point != points[number]]
        if parted:
            if load().__version__ != about.optuna:
                raise ProjectError(
                    f"the plan is that of Optuna {about.optuna}, and not that of {load().__version__}, which is here.",
                    "Check out the constraints.txt of then, and: just setup",
                    CANNOT_BE_TRIED,
                )
            number = parted[0]
            yield f"trial {number} has {dict(found[number, 0].point)}, where the plan has {points[number]}"
            return
        course.take(rows.values(found, points, sweep, metric))
    if surplus := sorted(found.keys() - planned):
        yield f"trial {surplus[0][0]} has a run, and is not planned"


def _results(about: Description, run: Any, runs: Mapping[str, Any], found: Rows) -> Iterator[str]:
    """Name what of the results is not as the sweep's run says, or as the record of a trial's run says."""
    sweep, metric = about.definition, key_of(about.definition.metric)
    known: dict[str, str] = {}
    if rows.digest_of(found.values(), metric) != run.data.tags.get("repro.result"):
        yield "the results of its runs do not give the result that it is tagged with"
    for row in found.values():
        if row.cause:
            continue
        content = makers.recorded(runs[row.run])
        if not content:
            yield f"trial {row.number}: run {row.run} has no record that is its own"
            continue
        planned = definition.settings(about.base, row.point, sweep.of_repeat(about.base, row.repeat))
        if content["given"] != digest.of_value(planned):
            yield f"trial {row.number}: run {row.run} was of other settings than the plan gives it"
        elif path := code.other(known, content["code"]["modules"]):
            yield f"trial {row.number}: run {row.run} was of other code than those before it: {path}"
        elif content["result"] != row.result:
            yield f"trial {row.number}: run {row.run} is tagged with another result than that of its record"
        elif metric and not same(float.fromhex(content["metrics"][sweep.metric]), row.metrics[metric]):
            yield f"trial {row.number}: run {row.run} has another {metric} than its record"
        known = content["code"]["modules"] | known


def _chosen(found: Iterable[Row], runs: Mapping[str, Any], count: int) -> list[Row]:
    """Choose runs to execute: at random, as nobody can prepare for that; those first that have no verdict yet."""
    finished = [row for row in found if not row.cause]
    random.shuffle(finished)
    return sorted(finished, key=lambda row: "repro.verdict" in runs[row.run].data.tags)[:count]


def _execute(run: Any, container: bool | None) -> tuple[str, list[str]]:
    """Execute a run of a trial again, keep that, and give the verdict and what to say of it."""
    with reproduce.scratch_folder() as scratch:
        record = reader.download(run, scratch / "original")
        refusals.require_git(record)
        comparison = reproduce.again(record, scratch, containers=replay_image.containers(record, container))
        reproduce.keep(comparison, scratch)
    return comparison.verdict, comparison.remarks


def _say(what: str, which: str, verdict: str) -> None:
    line = Text(f"{what:<17} {which}  ").append(verdict, terminal.VERDICTS[verdict])
    terminal.console().print(line)
