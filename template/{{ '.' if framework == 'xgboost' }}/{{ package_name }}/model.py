"""The model: gradient-boosted trees of XGBoost, as many as the validation rows want."""

from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb


def matrix(X: pd.DataFrame, y: pd.Series | None = None) -> xgb.DMatrix:
    """Put rows into the form that the model takes: by position, since XGBoost refuses `[`, `]` and `<` in names."""
    return xgb.DMatrix(X.to_numpy(), y)


def predict(booster: xgb.Booster, X: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Predict for rows of a table: probabilities of the positive class, or values of the target; shape (rows,)."""
    return np.asarray(booster.predict(matrix(X)))


def rounds(booster: xgb.Booster) -> int:
    """Count the rounds whose trees are kept."""
    return int(booster.num_boosted_rounds())


def after(booster: xgb.Booster, count: int) -> list[str]:
    """Give the trees as they stood after some rounds, as JSON with every digit of their numbers."""
    return list(booster[: min(count, rounds(booster))].get_dump(dump_format="json", with_stats=True))
