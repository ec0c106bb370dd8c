"""Which rows are learned from, and which are held out."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from . import features
from .reproducibility import ProjectError
from .settings import Settings

#: Positions of the rows to learn from, and of those held out.
Part = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def parts(table: pd.DataFrame, settings: Settings, rng: np.random.Generator) -> list[Part]:
    """Hold rows out, as `split` says: once, or with `folds` each in its turn, or only in that of one `fold`.

    Parameters
    ----------
    table : pandas.DataFrame, shape (rows, columns)
        The dataset.
    settings : Settings
        `split`, `split_column`, `folds`, `fold`, `test_fraction` and `target` are used.
    rng : numpy.random.Generator
        Draws the rows that are held out.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        For each fold the rows to learn from, and those held out.

    Raises
    ------
    ProjectError
        If the table cannot be split in this way.
    """
    if settings.fold is not None and settings.fold > settings.folds:
        raise ProjectError(
            f"there is no fold {settings.fold} of {settings.folds}.", "`fold:` is one of `folds:`, counted from 1."
        )
    if settings.folds == 1:
        return [once(table, settings, rng, settings.test_fraction)]
    found = _folds(table, settings, rng)
    return found if settings.fold is None else [found[settings.fold - 1]]


def _folds(table: pd.DataFrame, settings: Settings, rng: np.random.Generator) -> list[Part]:
    if settings.split == "time":
        return _by_time(_values(table, settings), [i / (settings.folds + 1) for i in range(1, settings.folds + 1)])
    how: dict[str, Any] = {"n_splits": settings.folds, "shuffle": True, "random_state": int(rng.integers(2**32))}
    kind = {"random": KFold, "stratified": StratifiedKFold, "group": GroupKFold}[settings.split]
    return _split(kind(**how), table, settings)


def once(table: pd.DataFrame, settings: Settings, rng: np.random.Generator, fraction: float) -> Part:
    """Hold a fraction of the rows out; see `parts`."""
    if settings.split == "random":
        rows = rng.permutation(len(table))
        held_out = round(len(table) * fraction)
        return np.sort(rows[held_out:]), np.sort(rows[:held_out])
    if settings.split == "time":
        return _by_time(_values(table, settings), [1 - fraction])[0]
    kind = {"stratified": StratifiedShuffleSplit, "group": GroupShuffleSplit}[settings.split]
    [part] = _split(kind(1, test_size=fraction, random_state=int(rng.integers(2**32))), table, settings)
    return part


def _split(splitter: Any, table: pd.DataFrame, settings: Settings) -> list[Part]:
    groups = _values(table, settings) if settings.split == "group" else None
    counts = table[settings.target].value_counts()
    if settings.split == "stratified" and counts.min() < max(splitter.get_n_splits(), 2):
        raise ProjectError(
            f"{counts.index[-1]!r} of target {settings.target!r} has too few rows to be in every part: {counts.min()}.",
            "`split: stratified` is for classes, each of as many rows as there are `folds:`, and of two at least.",
        )
    try:
        found = [*splitter.split(table, table[settings.target], groups)]
    except ValueError as error:
        raise ProjectError(
            f"dataset {settings.dataset!r} cannot be split: {error!s:.300}",
            "Change `split:`, `folds:` or the fractions.",
        ) from error
    return [(np.sort(train), np.sort(test)) for train, test in found]


def _values(table: pd.DataFrame, settings: Settings) -> pd.Series:
    """Give the groups or times of the rows."""
    if settings.split_column not in table:
        raise ProjectError(
            f"`split: {settings.split}` goes by a column, and {settings.split_column!r} is none of the dataset's.",
            f"Name it in `split_column:`; there are {', '.join(map(str, table.columns))}.",
        )
    values = features.typed(table[settings.split_column])
    if values.isna().any() or (settings.split == "time" and values.dtype == "str"):
        raise ProjectError(
            f"column {settings.split_column!r} does not say the {settings.split} of every row.",
            "Leave rows without one out of the file. A time is a number, or a date such as 2026-11-27 13:45.",
        )
    return values


def _by_time(times: pd.Series, shares: list[float]) -> list[Part]:
    """Learn from the rows before a time and hold out those from it on, up to the next one; equal times stay together.

    The times are those that these shares of the rows are before.
    """
    ordered = np.sort(times.to_numpy())
    borders = [ordered[min(round(share * len(ordered)), len(ordered) - 1)] for share in shares]
    found = []
    for start, end in zip(borders, [*borders[1:], None], strict=True):
        before, held_out = times < start, (times >= start) & ((times < end) if end is not None else True)
        if not before.any() or not held_out.any():
            raise ProjectError(
                f"column {times.name!r} has too few different times for this split.", "Take fewer `folds:`."
            )
        found.append((np.flatnonzero(before), np.flatnonzero(held_out)))
    return found
