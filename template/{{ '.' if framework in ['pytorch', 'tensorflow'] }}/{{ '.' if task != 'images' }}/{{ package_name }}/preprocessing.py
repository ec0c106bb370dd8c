"""From the columns of a table to numbers that a network learns from. It is fitted with the model, and stored in it."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from .dates import DateParts


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
