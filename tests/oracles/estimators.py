"""Fit scikit-learn's own test instances of every estimator, and say what the harness makes of them.

Run with a rendered project's Python, in its folder: `python estimators.py SEED SHARD SHARDS [--store FOLDER]`. Prints one
JSON object: by estimator, the digest of its content and that of its predictions, or why it was left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path.cwd()))
warnings.simplefilter("ignore")

from bikes.reproducibility import content, digest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.feature_selection import RFECV, SelectFromModel
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances
from sklearn.utils.estimator_checks import (
    _enforce_estimator_tags_X,
    _enforce_estimator_tags_y,
    set_random_state,
)

TEXTS = ["a red car", "a blue car", "the red house", "the blue house", "one red hat"] * 8


#: What cannot be fitted alone, and why; `combined` has it.
LEFT_OUT = {"FrozenEstimator": "it holds an estimator that is fitted already"}


def alone() -> Iterator[tuple[str, Any]]:
    """Every estimator of scikit-learn, as its own tests construct it."""
    for name, Estimator in all_estimators():
        if name in LEFT_OUT:
            continue
        for number, instance in enumerate(_construct_instances(Estimator)):
            yield f"{name} {number}" if number else name, instance


def combined() -> Iterator[tuple[str, Any]]:
    """Estimators that hold others, in processes too."""
    forest, logistic = RandomForestClassifier(8), make_pipeline(StandardScaler(), LogisticRegression())
    columns = ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", KBinsDiscretizer(3), [2])], n_jobs=2)
    yield "Pipeline of columns", make_pipeline(columns, forest)
    yield "Pipeline of a function", make_pipeline(FunctionTransformer(np.log1p), logistic)
    yield "Union of selections", make_pipeline(
        FeatureUnion([("s", StandardScaler()), ("f", SelectFromModel(forest))], n_jobs=2), LogisticRegression()
    )
    yield "Stacking", StackingClassifier([("f", forest), ("l", logistic)], n_jobs=2)
    yield "Voting", VotingClassifier([("f", forest), ("l", logistic)], voting="soft", n_jobs=2)
    yield "Bagging", BaggingClassifier(DecisionTreeClassifier(), n_jobs=2)
    yield "Chain", ClassifierChain(LogisticRegression(), random_state=0)
    yield "Grid search", GridSearchCV(forest, {"max_depth": [2, 3]}, n_jobs=2)
    yield "Random search", RandomizedSearchCV(SGDClassifier(), {"alpha": range(1, 9)}, n_iter=3, n_jobs=2)
    yield "Search of a pipeline", GridSearchCV(make_pipeline(StandardScaler(), KNeighborsClassifier()), {}, n_jobs=2)
    fitted = LogisticRegression().fit([[0.0] * 4, [1.0] * 4], [0, 1])
    yield "Frozen", StackingClassifier([("l", FrozenEstimator(fitted))], cv="prefit", n_jobs=2)
    yield "Elimination", RFECV(DecisionTreeClassifier(), cv=3, n_jobs=2)
    yield "Target", TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)
    yield "Words", make_pipeline(TfidfVectorizer(), LogisticRegression())
    yield "Words in processes", make_pipeline(
        FeatureUnion([("t", TfidfVectorizer(stop_words="english")), ("c", CountVectorizer())], n_jobs=2),
        LogisticRegression(),
    )
    yield "Categories", make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())


def data(name: str, estimator: Any) -> tuple[Any, Any]:
    """Rows and target as this estimator takes them: as scikit-learn's own checks make them."""
    rng = np.random.RandomState(0)
    tags = estimator.__sklearn_tags__() if hasattr(estimator, "__sklearn_tags__") else None
    if name.startswith("LabelBinarizer") or name.startswith("LabelEncoder"):
        return rng.randint(0, 4, 60), None
    if name.startswith("MultiLabelBinarizer"):
        return [[i % 3, i % 2 + 3] for i in range(60)], None
    if name.startswith("Words") or (tags is not None and tags.input_tags.string):
        return TEXTS, np.array([i % 5 % 2 for i in range(len(TEXTS))])
    if tags is not None and tags.input_tags.dict:
        return [{"a": i, "b": str(i % 3)} for i in range(40)], None
    X = rng.normal(size=(60, 4)).astype(float)
    y = (X[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(int)
    if name.startswith(("Pipeline of a function", "Target")):
        X, y = np.abs(X), np.abs(X).sum(axis=1)
        return X, y if name == "Target" else (y > np.median(y)).astype(int)
    if name == "Chain":
        return X, np.column_stack([y, X[:, 1] > 0]).astype(int)
    if name == "Categories":
        return (X * 2).round(), y
    if name.startswith("PatchExtractor"):
        return rng.normal(size=(20, 12, 12)), None
    if name.startswith("SparseCoder"):
        return X[:, : estimator.dictionary.shape[1]], y
    if name.startswith("MissingIndicator"):
        return np.where(X > 0, X, np.nan), y
    X = _enforce_estimator_tags_X(estimator, X)
    if tags is not None and tags.target_tags.one_d_labels is False and tags.estimator_type == "regressor":
        y = X[:, 0] * 2.0 + 0.1 * rng.normal(size=len(X)) if X.ndim == 2 and len(X) == 60 else y
    return X, _enforce_estimator_tags_y(estimator, y[: len(X)])


def answer(estimator: Any, X: Any) -> Any:
    """What a fitted estimator gives for rows: all that it can be asked."""
    found = {}
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        if hasattr(estimator, method):
            try:
                found[method] = getattr(estimator, method)(X)
            except (NotImplementedError, AttributeError, NotFittedError):
                continue
    if not found:  # such as manifolds and clusterings, which keep what they found for their own rows
        found = {name: vars(estimator)[name] for name in ("labels_", "embedding_") if name in vars(estimator)}
    return found


def digest_of(value: Any) -> str:
    """Digest of an answer, independent of the harness's own walk over models."""
    import scipy.sparse

    if isinstance(value, dict):
        return digest.of_value({name: digest_of(part) for name, part in value.items()})
    if isinstance(value, (list, tuple)):
        return digest.of_value([digest_of(part) for part in value])
    return digest.of_value(value.toarray() if scipy.sparse.issparse(value) else np.asarray(value))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("shard", type=int)
    parser.add_argument("shards", type=int)
    parser.add_argument("--store", type=Path, help="also store each by the framework's adapter, in this folder")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for position, (name, estimator) in enumerate([*alone(), *combined()]):
        if position % arguments.shards != arguments.shard:
            continue
        np.random.seed(arguments.seed)
        try:
            X, y = data(name, estimator)
            fitted = clone(estimator)
            set_random_state(fitted, arguments.seed)
            if any(key.endswith("random_state") for key in fitted.get_params()):
                fitted.set_params(
                    **{key: arguments.seed for key in fitted.get_params() if key.split("__")[-1] == "random_state"}
                )
            fitted.fit(X) if y is None else fitted.fit(X, y)
            answered = digest_of(answer(fitted, X))
        except Exception as error:
            found[name] = {"left out": f"not fitted: {type(error).__name__}: {str(error)[:200]}"}
            continue
        made = content.Content(fitted)
        found[name] = {
            "content": made.digest,
            "named": made.tree.named(),
            "answer": answered,
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
