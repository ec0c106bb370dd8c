"""From dates to numbers. A model of a table with dates has it in its preprocessing, and is stored by its name."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Years, seasons, weekdays and hours of dates, as numbers; and how long ago each was, in days since 1970."""

    parts = ("year", "month", "day", "weekday", "hour")

    def fit(self, dates: pd.DataFrame, y: object = None) -> Self:
        """Remember the names of the columns."""
        self.names_ = [f"{name} {part}" for name in dates for part in (*self.parts, "since 1970")]
        return self

    def transform(self, dates: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Take dates apart; shape (rows, 6 a column)."""
        columns = []
        for when in (pd.to_datetime(values) for _, values in dates.items()):
            columns += [getattr(when.dt, part) for part in self.parts]
            columns.append((when - pd.Timestamp(1970, 1, 1)) / pd.Timedelta(days=1))
        return np.column_stack(columns).astype("float64")

    def get_feature_names_out(self, names: object = None) -> np.ndarray[Any, Any]:
        """Name what `transform` gives."""
        return np.array(self.names_, object)
