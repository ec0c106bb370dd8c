"""A comparison as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from .compare import Comparison
from .wording import MEANINGS, few, metric_rows


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
        *([f"<p>In the model: {_escape(few(comparison.parts))}</p>"] if comparison.parts else []),
        *([f"<p>Only there: {_escape(comparison.hint)}</p>"] if comparison.only_weights else []),
        "<h2>Metrics</h2>" + html_table(("metric", "original", "replay", "equal"), metric_rows(comparison)),
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

    pairs = [entry for entry in metric_rows(comparison) if entry[1] is not None and entry[2] is not None]
    apart = [0.0 if equal else abs(x - y) / (abs(x) or 1.0) for _, x, y, equal in pairs]
    apart = [value if math.isfinite(value) else 1.0 for value in apart]  # the whole width
    figure = Figure(figsize=(6, 1.2 + 0.35 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    axes.barh([name for name, *_ in pairs], apart)
    axes.set_xscale("symlog", linthresh=1e-16)
    axes.set_xlim(0, 1)
    axes.set_xlabel("relative difference (0: equal to the last bit)")
    return figure
