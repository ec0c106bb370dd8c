"""From the table to what the model learns from: columns of known types, and the target."""

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_datetime64_any_dtype, is_numeric_dtype

from .reproducibility import ProjectError
from .settings import Settings

#: What pandas calls a column of objects that are numbers.
NUMBERS = {"boolean", "integer", "floating", "mixed-integer-float", "decimal"}
#: A text that is a date, or a date and a time.
DATE = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?"


def columns(table: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, pd.Series]:
    """Separate the target from the columns to learn from.

    Parameters
    ----------
    table : pandas.DataFrame, shape (rows, columns)
        The dataset.
    settings : Settings
        `target` and `drop` are used.

    Returns
    -------
    X : pandas.DataFrame, shape (rows, features)
        Numbers as float64, dates as datetime64, all else as text. Missing values stay missing.
    y : pandas.Series, shape (rows,)
        The target.

    Raises
    ------
    ProjectError
        If a named column is missing, a number is not finite, or the target is not known in every row.
    """
    missing = [name for name in (settings.target, *settings.drop) if name not in table.columns]
    if missing:
        raise ProjectError(
            f"dataset {settings.dataset!r} has no column {', '.join(missing)}; it has {', '.join(table.columns)}.",
            "Correct `target:` and `drop:` in the conf.",
        )
    table = table.reset_index(drop=True)
    X, y = table.drop(columns=[settings.target, *settings.drop]).apply(typed), table[settings.target]
    # Models compute in single precision, in which larger numbers are infinite too.
    infinite = []
    for name, values in [*X.select_dtypes("number").items(), *([(y.name, y)] if is_numeric_dtype(y) else [])]:
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
    return X, y


def typed(values: pd.Series) -> pd.Series:
    """Give a column as numbers, dates or texts, whichever it holds; a text is a date where all of them are."""
    if is_numeric_dtype(values) or infer_dtype(values, skipna=True) in NUMBERS:
        return values.astype("float64")  # so that a missing value in new data is not another type
    if is_datetime64_any_dtype(values):
        return values
    texts = values.astype("str")
    dates = pd.to_datetime(texts.where(texts.str.fullmatch(DATE)), format="ISO8601", errors="coerce")
    return dates if texts.notna().any() and dates.notna().equals(texts.notna()) else texts
