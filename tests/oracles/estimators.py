"""Fit scikit-learn's own test instances of every estimator, and say what the harness makes of them.

Run with a rendered project's Python, in its folder: `python estimators.py first|again SHARD SHARDS FOLDER`. The first
time each estimator is fitted, and stored as a run would; in another process it is then loaded, and fitted again, with
the same seed and with another. Prints one JSON object, by estimator: digests of content and answers.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import Model
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import RFECV, SelectFromModel
from sklearn.frozen import FrozenEstimator
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
)

from bikes.reproducibility import Result
from bikes.reproducibility.common import digest
from bikes.reproducibility.modeling import content
from bikes.reproducibility.record import stored_model
from bikes.reproducibility.serving import predict

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
    yield (
        "Union of selections",
        make_pipeline(
            FeatureUnion([("s", StandardScaler()), ("f", SelectFromModel(forest))], n_jobs=2), LogisticRegression()
        ),
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
    yield (
        "Words in processes",
        make_pipeline(
            FeatureUnion([("t", TfidfVectorizer(stop_words="english")), ("c", CountVectorizer())], n_jobs=2),
            LogisticRegression(),
        ),
    )
    yield "Categories", make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())


def data(name: str, estimator: Any) -> tuple[Any, Any]:
    """Rows and target as this estimator takes them: as scikit-learn's own checks make them."""
    rng = np.random.RandomState(0)
    tags = estimator.__sklearn_tags__() if hasattr(estimator, "__sklearn_tags__") else None
    if name.startswith("MissingIndicator"):
        return np.where(rng.normal(size=(60, 4)) > 0, 1.0, np.nan), None
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


def chosen(shard: int, shards: int) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, estimator, rows and target of every estimator of a shard."""
    for position, (name, estimator) in enumerate([*alone(), *combined()]):
        if position % shards == shard:
            yield name, estimator, *data(name, estimator)


def fit(estimator: Any, X: Any, y: Any, seed: int) -> Any:
    """Fit a copy, every generator in it from one seed."""
    np.random.seed(seed)
    fitted = clone(estimator)
    seeds = [name for name in fitted.get_params() if name.split("__")[-1] == "random_state"]
    fitted.set_params(**dict.fromkeys(seeds, seed))
    return fitted.fit(X) if y is None else fitted.fit(X, y)


def fit_otherwise(estimator: Any, X: Any, y: Any) -> Any:
    """Fit a copy from another seed; some leave a halving search rows of one class, which its estimator refuses."""
    for seed in range(2, 12):
        try:
            return fit(estimator, X, y, seed)
        except ValueError as error:
            refused = error
    raise refused


def ask(estimator: Any, X: Any) -> str:
    """Digest of the answers of an estimator, for a copy: BLAS multiplies a matrix by itself in another way."""
    np.random.seed(7)  # some draw from it when they are asked
    return digest_of(answer(estimator, copy.deepcopy(X)))


def store(name: str, estimator: Any, X: Any, folder: Path) -> str:
    """Store an estimator as a run would; an empty text, or why it could not be."""
    mlflow.start_run()
    result = Result(estimator, X, None, {})
    kept = stored_model.Kept(result)
    kept.note({})
    tags = kept.log(str(Path("constraints.txt")), "none", {})
    mlflow.end_run()
    if stored_model.STORED in tags:
        (folder / f"{name}.uri").write_text(tags[stored_model.STORED])
    return tags.get(stored_model.NOT_STORED, "")


def load(name: str, folder: Path) -> Any:
    """Load what was stored, as `just predict` does, and take MLflow's wrapping off."""
    path = Path(mlflow.artifacts.download_artifacts((folder / f"{name}.uri").read_text()))
    predict._require_safe(name, path, Model.load(str(path)))
    return mlflow.sklearn.load_model(str(path))


def describe(fitted: Any, X: Any) -> dict[str, Any]:
    """What two processes must agree about."""
    made = content.Content(fitted)
    return {"answer": ask(fitted, X), "content": made.digest, "parts": made.tree.named()}


def main() -> None:
    time, (shard, shards), folder = sys.argv[1], map(int, sys.argv[2:4]), Path(sys.argv[4])
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri((folder / "store").as_uri())
    found: dict[str, dict[str, Any]] = {}
    for name, estimator, X, y in chosen(shard, shards):
        fitted = fit(estimator, X, y, seed=1)
        found[name] = describe(fitted, X)
        if time == "first":
            found[name]["not stored"] = store(name, fitted, X, folder)
        else:
            found[name]["other"] = describe(fit_otherwise(estimator, X, y), X)
            if (folder / f"{name}.uri").exists():
                found[name]["loaded"] = ask(load(name, folder), X)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
