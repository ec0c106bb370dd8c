"""How much a metric depends on the seed: its mean, its spread, and where the mean of all seeds lies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .rows import Row

if TYPE_CHECKING:
    import pandas as pd

#: Of the interval that holds the mean of all seeds.
CONFIDENCE = 0.95


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """Describe every metric of runs that differ in their seed alone.

    Parameters
    ----------
    rows : iterable of Row
        The runs that finished.

    Returns
    -------
    pandas.DataFrame
        A row a metric: `mean`, `spread` (the standard deviation), `low` and `high` (the interval that holds the mean of
        all seeds with 95 % confidence, after Student), `min`, `max`, `seeds` (how many runs have it).

    Notes
    -----
    Student, "The probable error of a mean", Biometrika 6 (1908): the seeds are a sample, and the metric is taken to be
    normally distributed.
    """
    import numpy as np
    import pandas as pd
    from scipy import stats

    values = pd.DataFrame([dict(row.metrics) for row in rows])
    count = values.count()
    mean, spread = values.mean(), values.std()
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(count - 1, 1)) * spread / np.sqrt(count)
    return pd.DataFrame(
        {
            "mean": mean,
            "spread": spread,
            "low": mean - reach,
            "high": mean + reach,
            "min": values.min(),
            "max": values.max(),
            "seeds": count,
        }
    ).rename_axis("metric")
