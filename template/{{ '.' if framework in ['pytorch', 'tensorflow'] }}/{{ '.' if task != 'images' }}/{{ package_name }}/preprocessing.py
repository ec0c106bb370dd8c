"""From the columns of a table to numbers that a network learns from. It is fitted with the model, and stored in it."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler


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


def build(X: pd.DataFrame) -> Pipeline:
    """Make the unfitted preprocessing of a table's columns.

    Parameters
    ----------
    X : pandas.DataFrame, shape (rows, features)
        Numbers, dates and texts, as `features.columns` gives them.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Numbers are standardized, and a missing one counts as its column's mean; a missing text is a category. Of more
        than 50 categories the rarest are one, and so is what was not there to learn from.
    """
    numbers, dates = list(X.select_dtypes("number")), list(X.select_dtypes("datetime"))
    texts = [name for name in X if name not in {*numbers, *dates}]
    standard = make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0))
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=50, sparse_output=False)
    parts: list[tuple[str, Any, Any]] = [
        ("numbers", standard, numbers),
        ("dates", make_pipeline(DateParts(), standard), dates),
        ("categories", categories, texts),
    ]
    columns = ColumnTransformer([part for part in parts if len(part[2])], sparse_threshold=0)
    return make_pipeline(columns, FunctionTransformer(np.float32))  # networks compute in single precision
