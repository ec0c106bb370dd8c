"""What makes a score look better than the model is, told by name."""

import re
import sys
from collections.abc import Sequence

import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from . import features
from .reproducibility import ProjectError
from .settings import Settings
from .split import Part

#: What a column is called that says which rows belong together.
IDENTIFIER = re.compile(r"(^|[\W_])id$|[a-z]I[dD]$")


def require_every_class(y: pd.Series, parts: Sequence[Part]) -> None:
    """Refuse a target of which something is in none of the rows to learn from.

    Raises
    ------
    ProjectError
        With the class.
    """
    if y.nunique() < 2:
        raise ProjectError(f"target {y.name!r} has one class alone.", "Name another column in `target:`.")
    for learned, _ in parts:
        if unseen := sorted({*y} - {*y.iloc[learned]}):
            raise ProjectError(
                f"{unseen[0]!r} of target {y.name!r} is in none of the rows to learn from.",
                "`split: stratified` has every class in every part; a class that is too rare cannot be learned.",
            )


def warn_of_imbalance(y: pd.Series) -> None:
    """Tell of a class that is rare."""
    shares = y.value_counts(normalize=True)
    rarest = shares.index[-1]
    if shares[rarest] < 0.2 / len(shares):
        _warn(
            f"target {y.name!r} is imbalanced: {shares[rarest]:.1%} of the rows are {rarest!r}. Who never says so is "
            "accurate too: look at f1 and the confusion matrix. `split: stratified` keeps the shares."
        )


def warn_of_leaks(table: pd.DataFrame, part: Part, settings: Settings) -> None:
    """Tell of a group in both parts, and of rows to learn from that are later than held-out ones.

    Parameters
    ----------
    table : pandas.DataFrame, shape (rows, columns)
        The dataset, with the columns that are not learned from.
    part : tuple of (ndarray of int, ndarray of int)
        The rows to learn from, and those held out.
    settings : Settings
        `split`, `target` and `drop` are used.
    """
    for name in table.columns.drop(settings.target):
        values = features.typed(table[name])
        if is_datetime64_any_dtype(values):
            if settings.split != "time" and values.iloc[part[0]].max() > values.iloc[part[1]].min():
                _warn(
                    f"time leak: by {name!r}, rows are learned from that are later than held-out ones. If the model "
                    f"is to tell the future: split: time, split_column: {name}"
                )
        elif settings.split != "group" and _is_group(values, settings):
            learned, held_out = ({*table[name].iloc[rows].dropna()} for rows in part)
            shared = sorted(learned & held_out)
            if shared:
                _warn(
                    f"group in both parts: {len(shared):,} values of {name!r}, such as {shared[0]!r}, are learned from "
                    f"and held out. If their rows are alike: split: group, split_column: {name}"
                )


def _is_group(values: pd.Series, settings: Settings) -> bool:
    """Tell whether a column seems to say which rows belong together: by its name, or by many texts not learned from."""
    is_text = values.name in settings.drop and values.dtype == "str"
    return bool(IDENTIFIER.search(str(values.name))) or (is_text and values.nunique() > 20)


def _warn(message: str) -> None:
    print(f"notice: {message}", file=sys.stderr)
