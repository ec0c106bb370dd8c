"""From the columns of a table to numbers that trees learn from. It is fitted with the model, and stored in it."""

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder

from .dates import DateParts


def build(X: pd.DataFrame) -> ColumnTransformer:
    """Make the unfitted preprocessing of a table's columns.

    Parameters
    ----------
    X : pandas.DataFrame, shape (rows, features)
        Numbers, dates and texts, as `features.columns` gives them.

    Returns
    -------
    sklearn.compose.ColumnTransformer
        A missing number stays missing, since trees know what to do with it; a missing text is a category. Of more than
        50 categories the rarest are one, and so is what was not there to learn from.
    """
    numbers, dates = list(X.select_dtypes("number")), list(X.select_dtypes("datetime"))
    texts = [name for name in X if name not in {*numbers, *dates}]
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=50, sparse_output=False)
    parts: list[tuple[str, Any, Any]] = [
        ("numbers", "passthrough", numbers),
        ("dates", DateParts(), dates),
        ("categories", categories, texts),
    ]
    return ColumnTransformer([part for part in parts if len(part[2])], sparse_threshold=0)


def names(fitted: ColumnTransformer) -> list[str]:
    """Name the numbers that it gives: a column, or a column and its category."""
    return [str(name).partition("__")[2] for name in fitted.get_feature_names_out()]
