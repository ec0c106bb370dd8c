"""From the table to what the model learns from: columns, target, split."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .reproducibility import ProjectError
from .settings import Settings


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows held out.

    Parameters
    ----------
    X_train, X_test : pandas.DataFrame, shape (rows, features)
        Numeric columns.
    y_train, y_test : pandas.Series, shape (rows,)
        The target.
    """

    X_train: pd.DataFrame
    X_test: pd.DataFrame
    y_train: pd.Series
    y_test: pd.Series


def split(table: pd.DataFrame, settings: Settings, rng: np.random.Generator, fraction: float | None = None) -> Split:
    """Separate target from features, and hold rows out.

    Parameters
    ----------
    table : pandas.DataFrame, shape (rows, columns)
        The dataset.
    settings : Settings
        `target`, `drop` and `test_fraction` are used.
    rng : numpy.random.Generator
        Draws the rows that are held out.
    fraction : float, optional
        How many, of all rows; `test_fraction` by default.

    Returns
    -------
    Split

    Raises
    ------
    ProjectError
        If a named column is missing, a feature is not numeric or not finite, or the target is not known in every row.
    """
    missing = [name for name in (settings.target, *settings.drop) if name not in table.columns]
    if missing:
        raise ProjectError(
            f"dataset {settings.dataset!r} has no column {', '.join(missing)}; it has {', '.join(table.columns)}.",
            "Correct `target:` and `drop:` in the conf.",
        )
    X, y = table.drop(columns=[settings.target, *settings.drop]), table[settings.target]
    text = [name for name in X.columns if not pd.api.types.is_numeric_dtype(X[name])]
    if text:
        raise ProjectError(
            f"these columns are not numbers: {', '.join(text)}.", "Encode them in features.py, or add them to `drop:`."
        )
    # Floats throughout, so that a missing value in new data is not another type.
    X = X.astype("float64")
    # Models compute in single precision, in which larger numbers are infinite too.
    infinite = []
    for name, values in [*X.items(), *([(y.name, y)] if pd.api.types.is_numeric_dtype(y) else [])]:
        beyond = values.abs() > np.finfo(np.float32).max
        if beyond.any():
            infinite.append(f"{name} in {beyond.sum():,} of {len(y):,} rows, the first is row {beyond.argmax() + 1:,}")
    if infinite:
        raise ProjectError(
            f"infinite, or too large for a model: {'; '.join(infinite)}.",
            "Correct these values in the file, then `just data-add` it again; or add the columns to `drop:`.",
        )
    if y.isna().any():
        raise ProjectError(
            f"target {settings.target!r} is empty in {y.isna().sum():,} of {len(y):,} rows.",
            "Leave those rows out of the file, then `just data-add` it again.",
        )
    rows = rng.permutation(len(table))
    held_out = round(len(table) * (settings.test_fraction if fraction is None else fraction))
    test, train = np.sort(rows[:held_out]), np.sort(rows[held_out:])
    return Split(X.iloc[train], X.iloc[test], y.iloc[train], y.iloc[test])
