"""What people look at of a sweep: a table of its trials, and Optuna's own plots of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .definition import Sweep
from .planner import load
from .rows import Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def table(rows: Iterable[Row], sweep: Sweep, metric: str) -> pd.DataFrame:
    """Put the runs of all trials into a table, by number, with their metric; of one trial alone, with all metrics."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"trial": row.number}
            | ({"repeat": row.repeat} if sweep.repeats > 1 else {})
            | dict(row.point)
            | ({metric: row.metrics.get(metric)} if metric else dict(row.metrics))
            | {"failed": row.cause, "run": row.run, "result": row.result[:19]}
            for row in sorted(rows, key=lambda row: (row.number, row.repeat))
        ]
    )


def draw(study: Any, sweep: Sweep) -> dict[str, Figure]:
    """Draw how the best value came about, how values go together, and which setting matters, as far as that can be."""
    import matplotlib

    matplotlib.use("agg")
    optuna = load()
    plots = optuna.visualization.matplotlib
    varied = [path for path in sweep.space if len({trial.params.get(path) for trial in study.trials}) > 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of experiments
        drawn = {"history": plots.plot_optimization_history(study, target_name=sweep.metric)}
        if varied:
            # By its own number of trees the other evaluator is another one for each seed.
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            drawn["importance"] = plots.plot_param_importances(study, evaluator=evaluator, params=varied)
        if len(varied) > 1:
            drawn["parallel_coordinates"] = plots.plot_parallel_coordinate(
                study, params=varied, target_name=sweep.metric
            )
    figures = {name: axes.figure for name, axes in drawn.items()}
    for figure in figures.values():
        figure.set_size_inches(9, 5)
        figure.set_layout_engine("tight")
    return figures


def repeats(rows: Iterable[Row]) -> Figure:
    """Draw each metric of the runs of a trial, which differ in seed or fold alone: a point a run, and their mean."""
    from matplotlib.figure import Figure

    runs = [row.metrics for row in rows]
    names = sorted({name for metrics in runs for name in metrics})
    figure = Figure(figsize=(9, 0.6 + 0.8 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        values = [metrics[name] for metrics in runs if name in metrics]
        axes.plot(values, [0] * len(values), "o", alpha=0.5)
        axes.axvline(sum(values) / len(values), color="0.4")
        axes.set_yticks([0], [name])
    return figure
