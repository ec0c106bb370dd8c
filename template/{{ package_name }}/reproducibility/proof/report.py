"""The page of a comparison: of a run with its replay, a certificate; or of two runs."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from ..record.schema import Record
from . import pictures, replay_image
from .compare import MEANINGS, Comparison
from .page import Digest, Exact, Section, moment, page

#: What a record says of the machine, by what a person calls it.
MACHINE = {"Python": "python", "CPU": "cpu", "system": "kernel", "C library": "libc"}
WORK = {"true": "kept in the record", "false": "none"}


def report(comparison: Comparison) -> str:
    """Write a comparison as one HTML page."""
    a, b, verdict = comparison.a, comparison.b, comparison.verdict
    replayed = b.run is None
    names = ("original", "replay") if replayed else (a.name[:8], b.name[:8])
    said = f"Run {a.name[:8]} was executed again" if replayed else f"Runs {a.name[:8]} and {b.name[:8]}, side by side"
    metrics = [
        (row.name, *(value if row.equal or value is None else Exact(value) for value in row[1:3]), row.equal)
        for row in comparison.metrics
    ]
    sections = [
        Section("What was executed", (), ("", *names), [*_facts(a, b)]),
        stages(comparison, names),
        Section("Metrics", (), ("metric", *names, ""), metrics),
        *_apart(comparison),
        _predictions(comparison, names),
        differences(comparison),
    ]
    kind = "Certificate of reproduction" if replayed else "Comparison of two runs"
    remarks = [f"{said}: {MEANINGS[verdict]}", *comparison.remarks]
    return page(kind, verdict, verdict, remarks, sections)


def facts(record: Record) -> Iterator[tuple[str, Any]]:
    """Name what a run was, as far as its record says it: old ones say less."""
    content, machine = record.content, record.content["environment"]
    began = record.run and datetime.datetime.fromtimestamp(record.run.info.start_time / 1000, datetime.UTC)
    yield "run", Digest(record.name) if record.run else "its replay"
    yield "executed", moment(began or datetime.datetime.now(datetime.UTC))
    yield "step", f"{content['project']}, {record.step}"
    yield "commit", Digest(content["code"]["commit"])
    yield "uncommitted work", WORK.get(content["code"]["dirty"], "unknown")
    yield "seed", str(record.conf.get("seed", ""))
    yield "constraints.txt", Digest(machine["lock"])
    for name, key in MACHINE.items():
        yield name, machine.get(key, "")
    yield "GPU", "; ".join(machine.get("gpu", ()))
    image = replay_image.of(record).get("image", "")
    yield "image", Digest(image) if image else ""
    yield "result", Digest(content["result"])


def stages(comparison: Comparison, names: tuple[str, str]) -> Section:
    """Put the stages of both runs side by side."""
    rows = [(row.name, *(value and Digest(value) for value in row[1:3]), row.equal) for row in comparison.stages]
    return Section("Stages", (), ("stage", *names, ""), rows)


def differences(comparison: Comparison) -> Section:
    """Name what else differs between the two records."""
    rows = [(found.cause, found.details) for found in comparison.differences]
    said = "The most likely cause first:" if comparison.remarks else "Without effect:"
    return Section("Recorded differences", [said if rows else "There are none."], ("cause", "what"), rows)


def _facts(a: Record, b: Record) -> Iterator[tuple[Any, ...]]:
    """Say what both runs were, each fact once where it is the same."""
    for (name, one), (_, other) in zip(facts(a), facts(b), strict=True):
        if one or other:
            yield (name, one) if one == other else (name, one or "none", other or "none")


def _apart(comparison: Comparison) -> Iterator[Section]:
    """Draw how far the metrics are apart, if any is."""
    if rows := [row for row in comparison.metrics if not row.equal and None not in (row.a, row.b)]:
        yield Section("How far the metrics are apart", picture=pictures.metrics(rows))


def _predictions(comparison: Comparison, names: tuple[str, str]) -> Section:
    """Show the predictions of both runs."""
    original, replay = comparison.a.predictions, comparison.b.predictions
    if original is None or replay is None or len(original) != len(replay):
        return Section("Predictions", ["Those of both runs are not at hand, or not equally many."])
    one, other = (pictures.comparable(side.iloc[:, 0]) for side in (original, replay))
    equal = int((one.eq(other) | (one.isna() & other.isna())).sum())
    return Section(
        "Predictions", [f"{equal:,} of {len(one):,} are equal."], picture=pictures.predictions(one, other, names)
    )
