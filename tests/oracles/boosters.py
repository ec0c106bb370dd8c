"""Train boosters of every kind that XGBoost or LightGBM has, and say what the harness makes of each.

Run with a rendered project's Python, in its folder: `python boosters.py first FOLDER` trains, describes and stores
each; after that, in another process, `again` in place of `first` trains each once more, with another seed, and with
another number of threads, and loads what was stored. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from described import describe, store
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bikes.reproducibility.framework import FRAMEWORK
from bikes.reproducibility.modeling.content import Content

#: A model: its name, how it is trained with a seed and a number of threads, and what asks it.
Trained = tuple[str, Callable[[int, int], Any], Callable[[Any], Any]]

_rng = np.random.default_rng(0)
ROWS = pd.DataFrame(_rng.normal(size=(200, 5)), columns=["speed [m/s]", "pct, total", "a<b", "{x}", '"q"'])
NUMBERS = ROWS.to_numpy()
#: What is learned: to tell classes apart, to count, to order.
COUNTS = np.abs(NUMBERS[:, 0] * 3 + _rng.normal(size=200)).round() + 1
CLASSES = (COUNTS % 3).astype(int)
GROUPS = [20] * 10
SAMPLED = {"subsample": 0.6}


def targets(objective: str) -> Any:
    """Give the target that an objective takes."""
    if objective.startswith(("multi", "softmax")):
        return CLASSES
    if any(word in objective for word in ("logistic", "binary", "hinge", "logitraw", "cross_entropy", "xentropy")):
        return (CLASSES > 0).astype(int)
    return np.minimum(COUNTS, 4).astype(int) if "rank" in objective or "ndcg" in objective else COUNTS


def of_xgboost() -> Iterator[Trained]:
    """Boosters x tree methods, all objectives, and what scikit-learn's interface has."""
    import xgboost as xgb

    def train(seed: int, threads: int, y: Any = COUNTS, rounds: int = 8, **parameters: Any) -> Any:
        rows = xgb.DMatrix(NUMBERS, y, nthread=threads)
        if "rank" in str(parameters.get("objective")):
            rows.set_group(GROUPS)
        if parameters.get("objective") == "survival:aft":
            rows.set_float_info("label_lower_bound", y)
            rows.set_float_info("label_upper_bound", y + 1)
        return xgb.train({**SAMPLED, "seed": seed, "nthread": threads, **parameters}, rows, rounds)

    def ask(booster: Any) -> Any:
        return booster.predict(xgb.DMatrix(NUMBERS))

    for booster in ("gbtree", "dart"):
        for method in ("auto", "exact", "approx", "hist"):
            more = {"rate_drop": 0.3} if booster == "dart" else {}
            yield (
                f"{booster} {method}",
                lambda s, t, b=booster, m=method, more=more: train(s, t, booster=b, tree_method=m, **more),
                ask,
            )
    for updater in ("shotgun", "coord_descent"):
        yield (
            f"gblinear {updater}",
            lambda s, t, u=updater: train(
                s,
                1,
                booster="gblinear",
                updater=u,
                subsample=1,
                feature_selector="shuffle" if u == "shotgun" else "random",
            ),
            ask,
        )
    for objective in (
        *("reg:squarederror", "reg:squaredlogerror", "reg:logistic", "reg:pseudohubererror", "reg:absoluteerror"),
        *("reg:gamma", "reg:tweedie", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson"),
        *("survival:cox", "survival:aft", "rank:ndcg", "rank:map", "rank:pairwise"),
    ):
        y = targets(objective) if objective != "rank:map" else (CLASSES > 0).astype(int)
        yield objective, lambda s, t, o=objective, y=y: train(s, t, y, objective=o), ask
    yield (
        "reg:quantileerror",
        lambda s, t: train(s, t, objective="reg:quantileerror", quantile_alpha=[0.1, 0.9]),
        ask,
    )
    for objective in ("multi:softmax", "multi:softprob"):
        yield objective, lambda s, t, o=objective: train(s, t, CLASSES, objective=o, num_class=3), ask
    yield "forest", lambda s, t: train(s, t, num_parallel_tree=4, rounds=1, colsample_bynode=0.5), ask
    yield "attributes", lambda s, t: _attributed(train(s, t)), ask

    def stopped(s: int, t: int) -> Any:
        rows = xgb.DMatrix(NUMBERS[:150], COUNTS[:150])
        parameters = {**SAMPLED, "seed": s, "nthread": t}
        evals = [(xgb.DMatrix(NUMBERS[150:], COUNTS[150:]), "v")]
        return xgb.train(parameters, rows, 60, evals=evals, early_stopping_rounds=3, verbose_eval=False)

    yield "early stopping", stopped, ask
    yield "early stopping sliced", lambda s, t: stopped(s, t)[:3], ask
    for cls in (xgb.XGBRegressor, xgb.XGBRFRegressor, xgb.XGBClassifier, xgb.XGBRFClassifier):
        y = CLASSES if "Classifier" in cls.__name__ else COUNTS
        yield (
            cls.__name__,
            lambda s, t, cls=cls, y=y: cls(n_estimators=6, random_state=s, n_jobs=t, subsample=0.6, missing=-9.0).fit(
                NUMBERS, y
            ),
            _asked,
        )
    yield (
        "ranker",
        lambda s, t: xgb.XGBRanker(n_estimators=6, random_state=s, n_jobs=t, subsample=0.6).fit(
            NUMBERS, targets("rank"), group=GROUPS
        ),
        _asked,
    )
    yield from combined(lambda s, t: xgb.XGBClassifier(n_estimators=5, random_state=s, n_jobs=t, subsample=0.6))


def _attributed(booster: Any) -> Any:
    booster.set_attr(note="of one's own")
    return booster


def of_lightgbm() -> Iterator[Trained]:
    """Boostings x objectives, and what scikit-learn's interface has."""
    import lightgbm as lgb

    def train(seed: int, threads: int, y: Any, **parameters: Any) -> Any:
        group = GROUPS if "rank" in parameters["objective"] else None
        rows = lgb.Dataset(NUMBERS, y, group=group)
        fixed = {
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            "min_data_in_leaf": 3,
            "bagging_freq": 1,
        }
        drawn = {"bagging_fraction": 0.6, "feature_fraction": 0.8, "drop_rate": 0.5}
        return lgb.train({**fixed, **drawn, "seed": seed, "num_threads": threads, **parameters}, rows, 8)

    def ask(booster: Any) -> Any:
        return booster.predict(NUMBERS)

    regression = ("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie")
    others = (
        "binary",
        "cross_entropy",
        "cross_entropy_lambda",
        "multiclass",
        "multiclassova",
        "lambdarank",
        "rank_xendcg",
    )
    for boosting in ("gbdt", "rf", "dart"):
        for objective in (*regression, *others):
            if boosting == "rf" and "rank" in objective:
                continue  # LightGBM has no such forest
            more: dict[str, Any] = {"num_class": 3} if objective.startswith("multi") else {}
            yield (
                f"{boosting} {objective}",
                lambda s, t, b=boosting, o=objective, more=more: train(
                    s, t, targets(o), boosting=b, objective=o, **more
                ),
                ask,
            )
    goss = {"data_sample_strategy": "goss", "bagging_freq": 0, "bagging_fraction": 1.0}
    yield "goss", lambda s, t: train(s, t, COUNTS, objective="regression", **goss), ask
    yield "linear tree", lambda s, t: train(s, t, COUNTS, objective="regression", linear_tree=True), ask

    def stopped(s: int, t: int) -> Any:
        rows = lgb.Dataset(NUMBERS[:150], COUNTS[:150])
        parameters = {"seed": s, "num_threads": t, "verbosity": -1, "bagging_freq": 1, "bagging_fraction": 0.6}
        parameters |= {"deterministic": True, "force_row_wise": True}
        watched = [lgb.Dataset(NUMBERS[150:], COUNTS[150:], reference=rows)]
        stop = lgb.early_stopping(3, verbose=False)
        return lgb.train(parameters, rows, 60, valid_sets=watched, callbacks=[stop], keep_training_booster=True)

    yield "early stopping", stopped, ask
    colours = ROWS.set_axis(list("abcde"), axis=1).assign(c=pd.Categorical.from_codes(CLASSES, ["r", "g", "b"]))
    yield (
        "categories",
        lambda s, t: lgb.train(
            {"seed": s, "num_threads": t, "verbosity": -1, "bagging_freq": 1, "bagging_fraction": 0.6},
            lgb.Dataset(colours, COUNTS),
            5,
        ),
        lambda booster: booster.predict(colours),
    )
    drawn: dict[str, Any] = {"subsample": 0.6, "subsample_freq": 1, "verbosity": -1, "deterministic": True}
    for cls in (lgb.LGBMRegressor, lgb.LGBMClassifier):
        y = COUNTS if cls is lgb.LGBMRegressor else np.array(["red", "green", "blue"])[CLASSES]
        yield (
            cls.__name__,
            lambda s, t, cls=cls, y=y: cls(n_estimators=6, random_state=s, n_jobs=t, **drawn).fit(NUMBERS, y),
            _asked,
        )
    yield (
        "ranker",
        lambda s, t: lgb.LGBMRanker(n_estimators=6, random_state=s, n_jobs=t, **drawn).fit(
            NUMBERS, targets("rank"), group=GROUPS
        ),
        _asked,
    )
    yield from combined(lambda s, t: lgb.LGBMClassifier(n_estimators=5, random_state=s, n_jobs=t, **drawn))


def combined(make: Callable[[int, int], Any]) -> Iterator[Trained]:
    """A classifier of the framework inside estimators of scikit-learn."""
    y = CLASSES
    yield "pipeline", lambda s, t: make_pipeline(StandardScaler(), make(s, t)).fit(NUMBERS, y), _asked
    yield (
        "columns by name",
        lambda s, t: make_pipeline(ColumnTransformer([("n", StandardScaler(), ["{x}", "a<b"])]), make(s, t)).fit(
            ROWS, y
        ),
        lambda model: model.predict_proba(ROWS),
    )
    yield "search", lambda s, t: GridSearchCV(make(s, t), {"max_depth": [2, 3]}, cv=2).fit(NUMBERS, y), _asked
    yield (
        "stacking",
        lambda s, t: StackingClassifier([("b", make(s, t)), ("l", LogisticRegression())], cv=2).fit(NUMBERS, y),
        _asked,
    )
    yield "list", lambda s, t: [make(s, t).fit(NUMBERS, y), make(s + 1, t).fit(NUMBERS, y)], lambda m: [*map(_asked, m)]


def _asked(model: Any) -> Any:
    return getattr(model, "predict_proba", model.predict)(NUMBERS)


def main() -> None:
    time, folder = sys.argv[1], Path(sys.argv[2])
    found: dict[str, dict[str, Any]] = {}
    for name, train, ask in of_xgboost() if FRAMEWORK.loader == "mlflow.xgboost" else of_lightgbm():
        model = train(1, 1)
        found[name] = describe(model, ask)
        if time == "first":
            found[name]["not stored"] = store(name, model, folder)
        else:
            found[name]["other"] = describe(train(2, 2), ask)
            found[name]["threads"] = describe(train(1, 2), ask)
            if (folder / name).exists():
                found[name]["loaded"] = Content(ask(FRAMEWORK.load(folder / name))).digest
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
