"""The pictures of pages: drawn as SVG, light or dark as the page around them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .page import Picture

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .compare import Row

#: Stands for the colour of the text around, which no figure has otherwise.
INK = "#010203"
ORIGINAL, REPLAY = "#5b8fd0", "#d98a2b"
STYLE = {
    "text.parse_math": False,  # a "$" in a name is no formula
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
SCHEMES = "svg { color: #1d1d1f } @media (prefers-color-scheme: dark) { svg { color: #e9e9ec } }"
#: Parts of a distribution.
BINS = 40
#: Of more labels the most frequent are shown.
LABELS = 10
#: Numbers of fewer values are counted like labels.
VALUES = 20


def drawn(draw: Callable[[Figure], object], width: float = 5.2, height: float = 2.4) -> str:
    """Draw a figure and give it as SVG that needs nothing else.

    Parameters
    ----------
    draw : callable
        Is given the figure.
    width, height : float
        In inches.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
    return svg(figure)


def svg(figure: Figure) -> str:
    """Give a figure as SVG; what was drawn in `INK` has the colour of the text around it."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    _, start, rest = buffer.getvalue().partition("<svg")
    return re.sub(">", f"><style>{SCHEMES}</style>", start + rest, count=1).replace(INK, "currentColor")


def comparable(column: pd.Series) -> pd.Series:
    """Give a column of numbers as it is; of any other, whatever it holds, the texts."""
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    return column if is_numeric_dtype(column) else pd.Series([*map(str, column)], dtype=object)


def predictions(original: pd.Series, replay: pd.Series, names: tuple[str, str]) -> Picture:
    """Draw how predictions are spread in both runs: numbers as distributions, labels as counts."""
    from pandas.api.types import is_numeric_dtype

    if all(map(is_numeric_dtype, (original, replay))) and original.nunique() > VALUES:
        return Picture(
            drawn(lambda figure: _numbers(figure, original, replay, names)), "How the predictions are spread"
        )
    one, other = (side.astype(object).map(str) for side in (original, replay))
    if len({*one, *other}) <= LABELS:
        shows = "How often each label was predicted, by the one run and by the other"
        return Picture(drawn(lambda figure: _matrix(figure, one, other, names), 3.6, 3.0), shows)
    shows = f"How often the {LABELS} labels were predicted that are most frequent"
    return Picture(drawn(lambda figure: _frequent(figure, one, other, names), height=3.2), shows)


def metrics(rows: Iterable[Row]) -> Picture:
    """Draw how far metrics are apart, relative to the first run's, on a scale on which 0 has a place too."""
    apart = {row.name: abs(row.a - row.b) / (abs(row.a) or 1.0) for row in rows}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        # What is infinite, or no number, is as long as the axis.
        axes.barh([*apart], [value if value < 1 else 1.0 for value in apart.values()], color=REPLAY)
        axes.set_xscale("symlog", linthresh=1e-16)
        ticks = (0, 1e-16, 1e-12, 1e-8, 1e-4, 1)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(xlim=(0, 1), xlabel="relative difference")

    return Picture(drawn(draw, height=0.8 + 0.3 * len(apart)), "How far the metrics are apart that differ")


def _numbers(figure: Figure, original: pd.Series, replay: pd.Series, names: tuple[str, str]) -> None:
    """Draw the distributions over each other, and beside them that of the differences, if there are any."""
    import numpy as np

    one, other = original.to_numpy(float), replay.to_numpy(float)
    with np.errstate(invalid="ignore"):  # of two infinities
        differences = other - one
    differences = differences[np.isfinite(differences) & (differences != 0)]
    axes, *rest = figure.subplots(1, 2 if len(differences) else 1, squeeze=False)[0]
    edges = _edges(np.concatenate([one, other]))
    axes.hist(one, edges, color=ORIGINAL, alpha=0.6, label=names[0])
    axes.hist(other, edges, color=REPLAY, histtype="step", linewidth=1.4, label=names[1])
    axes.set(xlabel="prediction", ylabel="how many")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    for beside in rest:
        beside.hist(differences, _edges(differences), color=REPLAY)
        beside.locator_params(axis="x", nbins=4)
        beside.xaxis.set_major_formatter("{x:.2g}")
        beside.set(xlabel=f"{names[1]} - {names[0]}, where they differ")


def _edges(values: Any) -> list[float]:
    """Divide the range of numbers; one of the last bits, which NumPy would not divide, into as many parts as it has."""
    import numpy as np

    finite = values[np.isfinite(values)]
    edges = [*np.unique(np.linspace(finite.min(), finite.max(), BINS + 1))]
    return edges if len(edges) > 1 else [edges[0] - 0.5, edges[0] + 0.5]


def _matrix(figure: Figure, one: pd.Series, other: pd.Series, names: tuple[str, str]) -> None:
    """Draw a table of the labels: what both predicted alike stands on the diagonal."""
    import numpy as np

    labels = sorted({*one, *other})
    counts = np.zeros((len(labels), len(labels)), int)
    places = {label: place for place, label in enumerate(labels)}
    np.add.at(counts, (other.map(places).to_numpy(), one.map(places).to_numpy()), 1)
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues", origin="lower", vmin=0, vmax=max(counts.max(), 1))
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    for (y, x), count in np.ndenumerate(counts):
        axes.text(x, y, f"{count:,}", ha="center", va="center", color="white" if count > counts.max() / 2 else "black")


def _frequent(figure: Figure, one: pd.Series, other: pd.Series, names: tuple[str, str]) -> None:
    """Draw the counts of the most frequent labels side by side."""
    import numpy as np

    counts = [side.value_counts() for side in (one, other)]
    labels = [*counts[0].add(counts[1], fill_value=0).nlargest(LABELS).index][::-1]
    axes = figure.subplots()
    for place, (side, name, colour) in enumerate(zip(counts, names, (ORIGINAL, REPLAY), strict=True)):
        heights = [int(side.get(label, 0)) for label in labels]
        axes.barh(np.arange(len(labels)) + 0.2 - 0.4 * place, heights, 0.38, color=colour, label=name)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="how many")
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
