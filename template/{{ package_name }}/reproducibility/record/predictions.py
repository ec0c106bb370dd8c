"""Predictions as a table."""

from __future__ import annotations

from typing import Any


def as_table(predictions: Any) -> Any:
    """Give predictions as a table of one row each: columns `prediction`, `prediction 1` and so on."""
    import numpy as np
    import pandas as pd

    if hasattr(predictions, "toarray"):
        predictions = predictions.toarray()
    array = np.asarray(predictions)
    columns = array.reshape(len(array), -1)
    return pd.DataFrame({f"prediction {i}" if i else "prediction": column for i, column in enumerate(columns.T)})
