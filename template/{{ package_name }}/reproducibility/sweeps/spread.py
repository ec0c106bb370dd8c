"""How much a metric depends on the seed, or on what is held out: its mean, its spread, where the mean of all lies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .rows import Row

if TYPE_CHECKING:
    import pandas as pd

#: Of the interval that holds the mean of all seeds.
CONFIDENCE = 0.95


def table(rows: Iterable[Row], interval: bool) -> pd.DataFrame:
    """Describe every metric of runs that differ in their seed or fold alone.

    Parameters
    ----------
    rows : iterable of Row
        The runs that finished.
    interval : bool
        Whether an interval can be told: of seeds. Folds share most of what they learn from, and are no sample.

    Returns
    -------
    pandas.DataFrame
        A row a metric: `mean`, `spread` (the standard deviation), `low` and `high` (the interval that holds the mean of
        all seeds with 95 % confidence, after Student), `min`, `max`, `runs` (how many have it).

    Notes
    -----
    Student, "The probable error of a mean", Biometrika 6 (1908): the seeds are a sample, and the metric is taken to be
    normally distributed. Of folds: Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52
    (2003).
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
            **({"low": mean - reach, "high": mean + reach} if interval else {}),
            "min": values.min(),
            "max": values.max(),
            "runs": count,
        }
    ).rename_axis("metric")
