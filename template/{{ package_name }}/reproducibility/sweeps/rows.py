"""What came of a sweep: a row for each run of each trial, and the digest of all of them, by number."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..common import digest
from .definition import Sweep


@dataclass(frozen=True)
class Row:
    """A run of a trial that came to its end.

    Parameters
    ----------
    number, repeat : int
        Which trial, and which run of it.
    point : dict
        The values of the trial, by the paths of the settings.
    run : str
        Its run.
    metrics : dict of str to float
        The metrics, as the store has them; empty where it failed.
    result : str
        The digest of its result; empty where it failed.
    cause : str
        Why it failed; empty where it did not.
    whole : bool
        Whether its model and its pictures are stored, too.
    """

    number: int
    repeat: int
    point: Mapping[str, Any]
    run: str
    metrics: Mapping[str, float]
    result: str
    cause: str = ""
    whole: bool = True


def digest_of(rows: Iterable[Row], metric: str) -> str:
    """Give the digest of a sweep's plan and results, which no order, time or name of a run is part of."""
    content = [
        {
            "trial": [row.number, row.repeat],
            "point": dict(row.point),
            "value": row.metrics[metric].hex() if metric and not row.cause else None,
            "result": row.result,
        }
        for row in sorted(rows, key=lambda row: (row.number, row.repeat))
    ]
    return digest.of_value(content)


def values(
    rows: Mapping[tuple[int, int], Row], numbers: Iterable[int], sweep: Sweep, metric: str
) -> dict[int, float | None]:
    """Give the value of each trial from all of its runs: their mean; None if one of them failed, or gave no number.

    Without a metric, of seeds or folds alone, there is nothing to compare: one that finished is enough.
    """
    found: dict[int, float | None] = {}
    for number in numbers:
        runs = [rows[number, repeat] for repeat in range(sweep.repeats)]
        if metric:
            own = [math.nan if row.cause else row.metrics[metric] for row in runs]
            found[number] = statistics.fmean(own) if all(map(math.isfinite, own)) else None
        else:
            found[number] = None if all(row.cause for row in runs) else 0.0
    return found
