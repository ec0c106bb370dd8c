"""The model: gradient-boosted trees of LightGBM, as many as the validation rows want."""

from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd


def matrix(X: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Put rows into the form that the model takes: by position, since LightGBM refuses `[]{}",:` in names."""
    return X.to_numpy()


def predict(booster: lgb.Booster, X: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Predict for rows of a table: probabilities of the positive class, or values of the target; shape (rows,)."""
    return np.asarray(booster.predict(matrix(X)))


def rounds(booster: lgb.Booster) -> int:
    """Count the rounds whose trees are kept."""
    return int(booster.current_iteration())


def after(booster: lgb.Booster, count: int) -> str:
    """Give the trees as they stood after some rounds, as text."""
    return str(booster.model_to_string(num_iteration=min(count, rounds(booster)))).partition("end of trees")[0]
