"""Models that users bring: equal results are called equal, no run is lost, and every one can be asked again."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Project, clone, refused, sample_of

pytestmark = pytest.mark.e2e

SETTINGS = """
from pydantic import BaseModel


class Settings(BaseModel):
    seed: int
    threads: int
    kind: str
    autolog: bool = False
"""
MODEL = '''
import functools

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, StackingClassifier
from sklearn.cluster import Birch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from .reproducibility import ModelAdapter
from .shapes import halves


class Clipper(BaseEstimator, TransformerMixin):
    """An own transformer, which keeps what it learned."""

    def __init__(self, quantile=0.9):
        self.quantile = quantile

    def fit(self, X, y=None):
        self.upper_ = np.quantile(X, self.quantile, axis=0)
        return self

    def transform(self, X):
        return np.minimum(X, self.upper_) / halves(2.0)


def logarithm(X, base=10):
    return np.log1p(np.abs(X)) / np.log(base)


class Ensemble:
    """What no library knows: a list of coefficients, and the address of something."""

    def __init__(self, rows):
        self.rows = rows
        self.started = id(object())

    def predict(self, X):
        return np.stack([np.asarray(X) @ row for row in self.rows]).mean(axis=0)


class EnsembleAdapter(ModelAdapter):
    def content(self, model):
        return model.rows

    def save(self, model, folder):
        np.savez(folder / "rows.npz", *model.rows)

    def load(self, folder):
        return Ensemble(list(np.load(folder / "rows.npz").values()))


def build(kind, random_state):
    forest = RandomForestClassifier(5, random_state=random_state)
    match kind:
        case "transformer":
            return make_pipeline(Clipper(), LogisticRegression())
        case "function":
            return make_pipeline(FunctionTransformer(logarithm, kw_args={"base": 2}), LogisticRegression())
        case "partial":
            return make_pipeline(FunctionTransformer(functools.partial(logarithm, base=2)), LogisticRegression())
        case "lambda":
            return make_pipeline(FunctionTransformer(lambda X: X * 2), LogisticRegression())
        case "stacking":
            return StackingClassifier([("f", forest), ("l", make_pipeline(StandardScaler(), LogisticRegression()))])
        case "search":
            return GridSearchCV(forest, {"max_depth": [2, 3]}, cv=2, n_jobs=2)
        case "words" | "texts":
            return make_pipeline(TfidfVectorizer(stop_words=["a"]), LogisticRegression())
        case "outputs":
            return RandomForestRegressor(5, random_state=random_state)
        case "clusters":
            return Birch(n_clusters=3)
'''
TRAIN = """
import mlflow
import numpy as np

from . import model
from .reproducibility import Result


def train(settings, run):
    if settings.autolog:
        mlflow.autolog()
    table = run.dataset("breast_cancer")
    X = table.drop(columns="diagnosis").astype("float64").iloc[:, :6]
    y = (table["diagnosis"] == "malignant").astype(int)
    seed = int(run.rng("model").integers(2**32))
    if settings.kind == "nothing":
        return Result(None, None, None, {"rows": float(len(X))})
    if settings.kind == "ensemble":
        fitted = model.Ensemble([np.linalg.lstsq(part, y[part.index], rcond=None)[0] for part in (X[::2], X[1::2])])
        predictions = fitted.predict(X)
        metrics = {"mean": float(predictions.mean())}
        return Result(fitted, X, predictions, metrics, adapter=model.EnsembleAdapter())
    estimator = model.build(settings.kind, seed)
    if settings.kind == "words":
        X = (table["diagnosis"] + np.where(X.iloc[:, 0] > 14, " large", " small a")).rename("text")
    if settings.kind == "texts":
        X = [*(table["diagnosis"] + np.where(X.iloc[:, 0] > 14, " large", " small a"))]
    if settings.kind == "outputs":
        y = X.iloc[:, :2]
    estimator.fit(X, y)
    predictions = estimator.predict(X)
    return Result(estimator, X, predictions, {"mean": float(np.mean(predictions))})
"""
ALL = """
import json, sys
from bikes.__main__ import experiment
from bikes.reproducibility.execute import execute

conf = {"seed": 1, "threads": 1}
found = {}
for kind in sys.argv[1:]:
    name, _, autolog = kind.partition("+")
    found[kind] = execute(experiment, {**conf, "kind": name, "autolog": bool(autolog)})
json.dump(found, open("found.json", "w"))
"""
ASK = """
import json, pathlib, sys
from bikes.reproducibility import ProjectError
from bikes.reproducibility.serving import predict

folder = pathlib.Path(sys.argv[1])
for kind, run_id in json.loads(sys.argv[2]).items():
    rows = folder / ("some words.csv" if kind in ("words", "texts") else "rows.csv")
    try:
        predict.predict(run_id, rows, folder / f"{kind}.csv")
    except ProjectError as error:
        (folder / f"{kind}.txt").write_text(error.cause)
"""
KINDS = (
    *("transformer", "function", "partial", "lambda", "stacking", "search", "words", "texts", "outputs", "clusters"),
    *("ensemble", "nothing"),
)
#: With MLflow watching: its marks on the estimator are no result.
WATCHED = ("stacking+autolog", "search+autolog", "transformer+autolog")
#: What `just test` trains: what a test names, and one of the others.
PROMPT = {"transformer", "transformer+autolog", "ensemble", "nothing", KINDS[1 + sample_of(9)]}
#: What has no format but pickle.
NOT_STORED = {"lambda": "PicklingError|lambda|Can't get", "clusters": "Birch"}


def of_kinds(*kinds: str) -> pytest.MarkDecorator:
    """Hold a test for each kind: at once for those that `just test` trains."""
    slow = pytest.mark.slow
    return pytest.mark.parametrize("kind", [pytest.param(k, marks=() if k in PROMPT else slow) for k in kinds])


@pytest.fixture(scope="module")
def brought(
    request: pytest.FixtureRequest, set_up: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, list[dict[str, Any]]]:
    """A project whose model is the user's own, and the runs of two processes with all kinds that tests ask for."""
    tests = [test for test in request.session.items if test.path == request.path and isinstance(test, pytest.Function)]
    asked = {test.callspec.params["kind"] for test in tests if hasattr(test, "callspec")}
    asked |= {"transformer", "ensemble", "nothing"} | {kind.removesuffix("+autolog") for kind in asked}
    project = clone(set_up("classification"), tmp_path_factory.mktemp("own") / "bikes")
    package = project.path / "bikes"
    for name, text in {"settings": SETTINGS, "model": MODEL, "train": TRAIN}.items():
        (package / f"{name}.py").write_text(text)
    (package / "shapes.py").write_text("def halves(x):\n    return x / 2\n")
    for name in ("features", "plots"):
        (package / f"{name}.py").unlink()
    (project.path / "confs" / "train.yaml").write_text("seed: 1\nthreads: 1\nkind: transformer\n")
    (project.path / "all.py").write_text(ALL)
    project.commit()
    runs = []
    for hash_seed in ("1", "2"):
        python = str(project.path / ".venv/bin/python")
        project.run(python, "all.py", *sorted(asked), PYTHONHASHSEED=hash_seed, PYTHONPATH="")
        found = json.loads((project.path / "found.json").read_text())
        runs.append({kind: project.client().get_run(run_id) for kind, run_id in found.items()})
    (project.path / "found.json").unlink()
    return project, runs


@of_kinds(*KINDS, *WATCHED)
def test_equal_trainings_of_other_processes_give_equal_results(brought: Any, kind: str) -> None:
    _, (one, other) = brought
    assert one[kind].info.status == "FINISHED"
    assert one[kind].data.tags["repro.result"] == other[kind].data.tags["repro.result"]


@of_kinds(*WATCHED)
def test_who_watches_changes_no_result(brought: Any, kind: str) -> None:
    _, (one, _) = brought
    plain = kind.removesuffix("+autolog")
    assert one[kind].data.tags["repro.result"] == one[plain].data.tags["repro.result"]


@pytest.fixture(scope="module")
def asked(brought: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `predict` says of every kind: a table, or why there is none."""
    project, (one, _) = brought
    folder = tmp_path_factory.mktemp("asked")
    rows = pd.read_csv(project.path / "data" / "breast_cancer.csv")
    rows.to_csv(folder / "rows.csv", index=False)
    pd.DataFrame({"text": rows["diagnosis"] + " large"}).to_csv(folder / "some words.csv", index=False)
    runs = {kind: run.info.run_id for kind, run in one.items() if kind in KINDS}
    project.run(str(project.path / ".venv/bin/python"), "-c", ASK, str(folder), json.dumps(runs), PYTHONPATH="")
    return {
        kind: pd.read_csv(folder / f"{kind}.csv")
        if (folder / f"{kind}.csv").exists()
        else (folder / f"{kind}.txt").read_text()
        for kind in runs
    }


@of_kinds(*KINDS[:-1])
def test_a_model_of_ones_own_is_stored_and_asked_again(brought: Any, asked: Any, kind: str) -> None:
    _, (one, _) = brought
    found, tags = asked[kind], one[kind].data.tags
    if kind in NOT_STORED:
        assert "could not store its model" in found and re.search(NOT_STORED[kind], tags["repro.model_not_stored"])
        return
    assert not isinstance(found, str), found
    outputs = [name for name in found if name.startswith("prediction")]
    assert outputs == (["prediction", "prediction 1"] if kind == "outputs" else ["prediction"])
    if kind not in ("words", "texts"):  # asked about other words
        assert found[outputs].to_numpy().mean() == pytest.approx(one[kind].data.metrics["mean"], rel=1e-12)


def test_a_run_without_a_model_says_so(asked: Any) -> None:
    assert "logged no model" in asked["nothing"]


def test_a_model_whose_code_changed_is_refused_with_the_commit_that_has_it(brought: Any, tmp_path: Path) -> None:
    project, (one, _) = brought
    shapes = project.path / "bikes" / "shapes.py"  # which model.py imports
    was = shapes.read_text()
    shapes.write_text("def halves(x):\n    return x / 3\n")
    data = str(project.path / "data" / "breast_cancer.csv")
    arguments = ("predict", one["transformer"].info.run_id, data, "-o", str(tmp_path / "out.csv"))
    message = refused(project.just(*arguments, check=False))
    assert "bikes/shapes.py" in message and project.git("rev-parse", "HEAD")[:10] in message
    project.just(*arguments, "--allow-unsafe")
    shapes.write_text(was)
    project.just(*arguments)


@pytest.mark.slow
def test_a_difference_in_what_a_model_holds_alone_is_said_to_be_just_that(brought: Any) -> None:
    """Without its adapter the ensemble's address would be compared: that and nothing else is named."""
    project, _ = brought
    train = project.path / "bikes" / "train.py"
    was = train.read_text()
    train.write_text(was.replace(", adapter=model.EnsembleAdapter()", ""))
    python = str(project.path / ".venv/bin/python")
    ids = []
    for _ in range(2):
        project.run(python, "all.py", "ensemble", PYTHONPATH="")
        ids.append(json.loads((project.path / "found.json").read_text())["ensemble"])
    (project.path / "found.json").unlink()
    train.write_text(was)
    done = project.just("compare", *ids, check=False)
    assert done.returncode == 1
    assert "in the model: model.started" in done.stdout
    assert "only there: the models answer alike" in done.stdout
    assert "random_state" not in done.stdout, "the user's seed is not to blame"


@of_kinds("stacking+autolog", "ensemble")
def test_a_run_of_an_own_model_is_reproduced_from_its_id(brought: Any, kind: str) -> None:
    project, (one, _) = brought
    assert "identical" in project.just("reproduce", one[kind].info.run_id).stdout


def test_mlflow_itself_loads_what_an_adapter_stored(brought: Any) -> None:
    project, (one, _) = brought
    code = (
        "import sys, mlflow, pandas as pd; model = mlflow.pyfunc.load_model(sys.argv[1]);"
        "print(len(model.predict(pd.read_csv('data/breast_cancer.csv').iloc[:, :6].astype(float))))"
    )
    done = subprocess.run(
        [str(project.path / ".venv/bin/python"), "-c", code, one["ensemble"].data.tags["repro.model"]],
        cwd=project.path,
        env={"MLFLOW_TRACKING_URI": f"sqlite:///{project.path}/mlflow.db", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("569"), done.stderr
