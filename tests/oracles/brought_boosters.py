"""Boosters as people bring them; the oracle makes this a module of the project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from .reproducibility.framework import FRAMEWORK

_numbers = np.random.default_rng(0).normal(size=(80, 4))
TABLE = pd.DataFrame(_numbers, columns=["speed [m/s]", "pct, total", "a<b", "{x}"])
PLAIN = TABLE.set_axis(list("abcd"), axis=1)
TARGET = (_numbers[:, 0] > 0).astype(int)


class Shifted(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer of one's own."""

    def fit(self, X: Any, y: Any = None) -> Shifted:
        self.least_ = np.asarray(X).min(axis=0)
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X) - self.least_


def doubled(X: Any) -> Any:
    return np.asarray(X) * 2


class Both:
    """A class of one's own around two boosters."""

    def __init__(self, one: Any, two: Any) -> None:
        self.one, self.two, self.weight = one, two, 0.3

    def predict(self, rows: Any) -> Any:
        return self.weight * self.one.predict(np.asarray(rows)) + self.two.predict(np.asarray(rows))


def kept() -> Iterator[tuple[str, Any, Any]]:
    """Give name, model and rows of those that a run keeps."""
    if FRAMEWORK.loader == "mlflow.xgboost":
        import xgboost as xgb

        yield "by position", xgb.train({}, xgb.DMatrix(_numbers, TARGET), 3), TABLE
        yield "by position, plain names", xgb.train({}, xgb.DMatrix(_numbers, TARGET), 3), PLAIN
        yield "by name", xgb.train({}, xgb.DMatrix(PLAIN, TARGET), 3), PLAIN
        yield "by other names", xgb.train({}, xgb.DMatrix(PLAIN, TARGET), 3), TABLE

        def make() -> Any:
            return xgb.XGBClassifier(n_estimators=3)

    else:
        import lightgbm as lgb

        yield "by position", lgb.train({"verbosity": -1}, lgb.Dataset(_numbers, TARGET), 3), TABLE
        yield "by name", lgb.train({"verbosity": -1}, lgb.Dataset(PLAIN, TARGET), 3), PLAIN

        def make() -> Any:
            return lgb.LGBMClassifier(n_estimators=3, verbosity=-1)

    yield "estimator", make().fit(PLAIN, TARGET), PLAIN
    yield "estimator by position", make().fit(_numbers, TARGET), _numbers
    columns = ColumnTransformer([("n", StandardScaler(), ["{x}", "a<b"])], remainder="passthrough")
    yield "pipeline", make_pipeline(columns, make()).fit(TABLE, TARGET), TABLE
    own = make_pipeline(Shifted(), FunctionTransformer(doubled), make())
    yield "own transformer", own.fit(_numbers, TARGET), TABLE
    yield "search", GridSearchCV(make(), {"max_depth": [2]}, cv=2).fit(_numbers, TARGET), _numbers
    yield "own class", Both(make().fit(_numbers, TARGET), make().fit(-_numbers, TARGET)), TABLE
    yield "lambda", make_pipeline(FunctionTransformer(lambda X: X), make()).fit(_numbers, TARGET), _numbers
    yield "list", [make().fit(_numbers, TARGET), make().fit(-_numbers, TARGET)], _numbers
