"""What `reproduce`, `verify`, `compare` and `runs` show: tables in the terminal, and one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import compare, metrics
from .compare import Comparison

if TYPE_CHECKING:
    from .explain import Proof

STYLES = {compare.IDENTICAL: "bold green", compare.EQUIVALENT: "bold yellow", compare.DIFFERENT: "bold red"}
MEANINGS = {
    compare.IDENTICAL: "every stage is equal to the last bit.",
    compare.EQUIVALENT: "not to the last bit, but within what other hardware explains.",
    compare.DIFFERENT: "they are not the same result.",
}


def show(comparison: Comparison, replayed: str = "") -> None:
    """Print a comparison: stages, metrics, differences, verdict."""
    console = _console()
    a, b = comparison.a, comparison.b
    names = a.name[:12], (replayed or b.name)[:12]
    table = Table("", *names, "", box=None, pad_edge=False, title_justify="left")
    for stage, equal in comparison.stages.items():
        digests = [side.stages.get(stage, "missing").removeprefix("sha256:")[:12] for side in (a, b)]
        table.add_row(Text(stage), *digests, _mark(equal))
    for name, one, other, equal in _metrics(comparison):
        values = ("" if value is None else repr(value) for value in (one, other))
        table.add_row(Text(name), *values, _mark(equal))
    console.print(table)
    differences = comparison.differences
    if differences:
        console.print(
            "\nrecorded differences, the most likely cause first:" if comparison.parted else "\nwithout effect:"
        )
    for difference in differences:
        console.print(Text(f"  {difference.cause:<9} {_few(difference.details)}"))
    verdict = comparison.verdict
    console.print(Text(f"\n{verdict}", STYLES[verdict]).append(f": {MEANINGS[verdict]}", "default not bold"))
    if comparison.parted:
        console.print(Text(f"the first stage that differs: {comparison.parted}"))
        if comparison.parts:
            console.print(Text(f"in the model: {_few(comparison.parts)}"))
        if comparison.only_weights:
            console.print(Text(f"only there: {comparison.hint}"))
        elif not differences:
            console.print(Text(f"nothing that was recorded differs, so it is the code: {comparison.hint}"))
    if replayed:
        console.print(Text(f"kept as run {replayed}, with report.html"))


def show_plan(record: Any, steps: Iterable[tuple[str, str]]) -> None:
    """Print what a reproduction would do."""
    console = _console()
    console.print(Text(f"To reproduce run {record.name}, nothing of this is done yet:"))
    table = Table("part", "what", box=None, pad_edge=False, show_header=False)
    for part, what in steps:
        table.add_row(Text(part), Text(what))
    console.print(table)


def show_proof(proof: Proof) -> None:
    """Print which differences were proven to be causes."""
    console = _console()
    if not proof.repeats:
        console.print(Text("no cause is named: the second run does not even repeat itself.", "bold red"))
        console.print("Two replays of it differ, so it draws on something that was not recorded: just verify")
        return
    console.print()
    for cause, stages in proof.causes.items():
        if stages:
            console.print(
                Text(f"proven    {cause}", "bold").append(f" changes {', '.join(stages)}", "default not bold")
            )
        else:
            console.print(Text(f"no cause  {cause}: with or without it the result is the same"))
    for cause, why in proof.untried.items():
        console.print(Text(f"untried   {cause}: {why}"))
    if proof.together is None:
        console.print("No recorded difference was proven to be a cause.")
    elif proof.together:
        console.print("With these taken back, the second run gives the first one's result, to the last bit.")
    else:
        console.print("With these taken back the results still differ: something else was at work too.")


def show_runs(runs: Iterable[Any]) -> None:
    """Print recent runs with their metrics and verdicts."""
    found = list(runs)
    names = list(dict.fromkeys(name for run in found for name in sorted(run.data.metrics)))[:4]
    table = Table(box=None, pad_edge=False)
    for name in ("run", "started", "status", *names, "result", "verdict"):
        table.add_column(Text(name), no_wrap=name in {"run", "verdict"})
    for run in found:
        tags = run.data.tags
        values = [f"{run.data.metrics[name]:.5g}" if name in run.data.metrics else "" for name in names]
        verdict = tags.get("repro.verdict", "")
        of = f" of {tags['repro.reproduces'][:8]}" if "repro.reproduces" in tags else ""
        started = _local_time(run.info.start_time)
        result = tags.get("repro.result", "").removeprefix("sha256:")[:8]
        table.add_row(
            run.info.run_id, started, run.info.status, *values, result, Text(verdict + of, STYLES.get(verdict, ""))
        )
    _console().print(table if found else "No runs yet: just train")


def page(comparison: Comparison) -> str:
    """Write a comparison as one HTML page that needs no other file and no network.

    Parameters
    ----------
    comparison : Comparison
        The runs; of a reproduction, the original and the replay.

    Returns
    -------
    str
        The page.
    """
    verdict = comparison.verdict
    stages = [
        (stage, *(side.stages.get(stage, "missing") for side in (comparison.a, comparison.b)), equal)
        for stage, equal in comparison.stages.items()
    ]
    differences = [(difference.cause, "; ".join(difference.details)) for difference in comparison.differences]
    sections = [
        f"<h1 class={verdict}>{verdict}</h1>",
        f"<p>Run {_escape(comparison.a.name)} was executed again: {MEANINGS[verdict]}</p>",
        "<h2>Stages</h2>" + html_table(("stage", "original", "replay", "equal"), stages),
        *([f"<p>In the model: {_escape(_few(comparison.parts))}</p>"] if comparison.parts else []),
        *([f"<p>Only there: {_escape(comparison.hint)}</p>"] if comparison.only_weights else []),
        "<h2>Metrics</h2>" + html_table(("metric", "original", "replay", "equal"), _metrics(comparison)),
        "<h2>Predicted against reproduced</h2>" + _picture(_draw_predictions(comparison)),
        "<h2>How far the metrics are apart</h2>" + _picture(_draw_metrics(comparison)),
        "<h2>Recorded differences</h2>"
        + (html_table(("cause", "what"), differences) if differences else "<p>There are none.</p>"),
    ]
    return document(verdict, sections)


def document(title: str, sections: Sequence[str]) -> str:
    """Put sections of HTML together into one page."""
    return f"<!doctype html><meta charset=utf-8><title>{title}</title>{_CSS}<body>{''.join(sections)}\n"


def html_table(names: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """Write a table in which a row that ends in False stands out."""
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        f"<tr{' class=no' if row[-1] is False else ''}>"
        + "".join(f"<td>{_cell(value)}</td>" for value in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


_CSS = """<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2em 1em .2em 0; overflow-wrap: anywhere; }
td { font-family: ui-monospace, monospace; font-size: 13px; } tr.no { background: #fdd; color: #000; }
h1.identical { color: #17803d; } h1.equivalent { color: #a16207; } h1.different { color: #b91c1c; }
img { max-width: 100%; }
</style>"""


def _console() -> Console:
    """Print as wide as the terminal is; into a file or pipe, where nobody can widen it, as wide as it takes."""
    return Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 200)


def _metrics(comparison: Comparison) -> list[tuple[Any, ...]]:
    """List name, both values, and whether they are the same."""
    one, other = comparison.a.metrics, comparison.b.metrics
    pairs = [(name, one.get(name), other.get(name)) for name in sorted({**one, **other})]
    return [(*pair, metrics.same(*pair[1:])) for pair in pairs]


def _mark(equal: bool) -> Text:
    return Text("=", "green") if equal else Text("differs", "bold red")


def _few(details: Sequence[str]) -> str:
    return "; ".join(details[:4]) + (f"; and {len(details) - 4} more" if len(details) > 4 else "")


def _local_time(milliseconds: int) -> str:
    import datetime

    return datetime.datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M")


def _escape(value: Any) -> str:
    return html.escape(value if isinstance(value, str) else repr(value))


def _cell(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else _escape(value)


def _picture(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img alt="plot" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _draw_predictions(comparison: Comparison) -> Any:
    """Draw original against reproduced predictions: points for numbers, counts for classes."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="original", ylabel="replay")
    original, replay = comparison.a.predictions(), comparison.b.predictions()
    if original is None or replay is None or len(original) != len(replay):
        axes.set_title("the predictions of both are not at hand")
        return figure
    one, other = original.iloc[:, 0].to_numpy(), replay.iloc[:, 0].to_numpy()
    if np.issubdtype(one.dtype, np.number) and len(np.unique(one)) > 20:
        axes.plot(one, other, ".", alpha=0.5)
        axes.axline((float(one[0]), float(one[0])), slope=1, color="grey", linewidth=0.8)
        return figure
    labels = sorted({*map(str, one), *map(str, other)})
    counts = np.zeros((len(labels), len(labels)), int)
    for x, y in zip(map(str, one), map(str, other), strict=True):
        counts[labels.index(y), labels.index(x)] += 1
    axes.imshow(counts, cmap="Blues", origin="lower")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    for (y, x), count in np.ndenumerate(counts):
        axes.text(x, y, count, ha="center", va="center", color="white" if count > counts.max() / 2 else "black")
    return figure


def _draw_metrics(comparison: Comparison) -> Any:
    """Draw the relative difference of every metric, on a scale on which 0 has a place too."""
    from matplotlib.figure import Figure

    pairs = [entry for entry in _metrics(comparison) if entry[1] is not None and entry[2] is not None]
    apart = [0.0 if equal else abs(x - y) / (abs(x) or 1.0) for _, x, y, equal in pairs]
    apart = [value if math.isfinite(value) else 1.0 for value in apart]  # the whole width
    figure = Figure(figsize=(6, 1.2 + 0.35 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    axes.barh([name for name, *_ in pairs], apart)
    axes.set_xscale("symlog", linthresh=1e-16)
    axes.set_xlim(0, 1)
    axes.set_xlabel("relative difference (0: equal to the last bit)")
    return figure
