"""A model and what it is worth: fitted on some rows, asked about others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import metrics
from .reproducibility import Run
from .split import Part

#: Fits a model on the rows at these positions.
Fit = Callable[[np.ndarray[Any, Any], Run], Any]


def evaluate(
    fit: Fit, X: pd.DataFrame, y: pd.Series, parts: Sequence[Part], run: Run
) -> tuple[Any, pd.DataFrame, dict[str, float]]:
    """Fit on the rows of each part, and score what is predicted for those held out.

    Parameters
    ----------
    fit : callable
        Fits a model.
    X : pandas.DataFrame, shape (rows, features)
    y : pandas.Series, shape (rows,)
    parts : sequence of (ndarray of int, ndarray of int)
        One: its model is the result. Several are folds: the model of the result is fitted on all rows.
    run : Run
        Notes each fold.

    Returns
    -------
    model : Any
    answers : pandas.DataFrame
        `metrics.ask` about each held-out row, by its place in the table; of folds, to a model that had not seen it.
    scores : dict of str to float
        `metrics.score` of them; of folds the mean, the standard deviation as `…_std`, and that of each as `…_fold_1`.
    """
    if len(parts) == 1:
        [(train, test)] = parts
        model = fit(train, run)
        answers = metrics.ask(model, X.iloc[test])
        return model, answers, metrics.score(y, answers)
    found, scores = [], []
    for number, (train, test) in enumerate(parts, 1):
        # A run of its own: it keeps no checkpoint, and its stages become one.
        fold = Run(run.seed, rank=run.rank, processes=run.processes)
        found.append(metrics.ask(fit(train, fold), X.iloc[test]))
        scores.append(metrics.score(y, found[-1]))
        run.stage(f"fold {number}", [fold.stages, found[-1], scores[-1]])
    table = pd.DataFrame(scores, index=range(1, len(parts) + 1))
    each = {f"{name}_fold_{number}": value for name in table for number, value in table[name].items()}
    spread = table.std().add_suffix("_std")
    return fit(np.arange(len(X)), run), pd.concat(found).sort_index(), {**table.mean(), **spread, **each}
