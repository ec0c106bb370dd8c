"""The report of a reproduction: a comparison as a page."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

from .compare import MEANINGS, Comparison
from .page import Section, page


def report(comparison: Comparison) -> str:
    """Write a comparison as one HTML page that needs no other file and no network."""
    verdict, columns = comparison.verdict, ("original", "replay", "equal")
    said = f"Run {comparison.a.name} was executed again: {MEANINGS[verdict]}"
    causes = [(difference.cause, "; ".join(difference.details)) for difference in comparison.differences]
    sections = [
        Section("", [said, *comparison.remarks]),
        Section("Stages", (), ("stage", *columns), comparison.stages),
        Section("Metrics", (), ("metric", *columns), comparison.metrics),
        Section("Predicted against reproduced", picture=_png(_draw_predictions, comparison)),
        Section("How far the metrics are apart", picture=_png(_draw_metrics, comparison)),
        Section("Recorded differences", () if causes else ["There are none."], ("cause", "what"), causes),
    ]
    return page(verdict, verdict, sections)


def _png(draw: Callable[[Comparison], Any], comparison: Comparison) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"text.parse_math": False}):  # a "$" in a name is no formula
        draw(comparison).savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _draw_predictions(comparison: Comparison) -> Any:
    """Draw original against reproduced predictions: points for numbers, counts for classes."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="original", ylabel="replay")
    original, replay = comparison.a.predictions, comparison.b.predictions
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

    rows = [row for row in comparison.metrics if row.a is not None and row.b is not None]
    apart = [0.0 if row.equal else abs(row.a - row.b) / (abs(row.a) or 1.0) for row in rows]
    apart = [value if math.isfinite(value) else 1.0 for value in apart]  # the whole width
    figure = Figure(figsize=(6, 1.2 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh([row.name for row in rows], apart)
    axes.set_xscale("symlog", linthresh=1e-16)
    axes.set_xlim(0, 1)
    axes.set_xlabel("relative difference (0: equal to the last bit)")
    return figure
