"""What a regressor says of rows, and how good that is."""

from typing import Any

import pandas as pd
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error


def ask(model: Any, X: pd.DataFrame) -> pd.DataFrame:
    """Let a model predict: the value of each row as `prediction`."""
    return pd.DataFrame({"prediction": model.predict(X)}, X.index)


def score(y: pd.Series, answers: pd.DataFrame) -> dict[str, float]:
    """Compare what `ask` gave with the truth, for those rows of the target `y` that were asked about."""
    truth, values = y.loc[answers.index], answers["prediction"]
    return {
        "r2": r2_score(truth, values),
        "rmse": root_mean_squared_error(truth, values),
        "mae": mean_absolute_error(truth, values),
    }
