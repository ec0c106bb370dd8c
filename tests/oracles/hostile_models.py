"""Models as an attacker would store them: whatever is loaded without leave, no code of theirs may run.

Run with a scikit-learn project's Python, in its folder: `python hostile_models.py FOLDER`. Each would make a file in
FOLDER; prints what was said of each, as JSON.
"""

from __future__ import annotations

import functools
import json
import pickle
import sys
from itertools import count
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import skops.io
import yaml
from mlflow.models import Model
from numpy.testing import measure
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from bikes import features
from bikes.reproducibility import adapter
from bikes.reproducibility.serving import predict

FOLDER = Path(sys.argv[1])
ROWS = pd.DataFrame({"a": [1.0, 2.0, 3.0]})


def harm(name: str) -> str:
    """Code that leaves a trace."""
    return f"__import__('pathlib').Path({str(FOLDER / name)!r}).touch()"


class Harmful:
    """Does its harm when a pickle of it is loaded."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return eval, (harm(self.name),)


def stored_by_adapter(name: str, class_name: str) -> Path:
    """A model that names an adapter, and has nothing in it yet."""
    path = FOLDER / f"{name}.model"
    (path / "data").mkdir(parents=True)
    own = {"adapter": class_name, "columns": ["a"], "code": {"commit": "0" * 40, "modules": {}}}
    model = Model(run_id="0" * 32, metadata=own)
    model.add_flavor("python_function", loader_module=adapter.LOADER, data="data", python_version="3.11.0")
    model.save(str(path / "MLmodel"))
    return path


def structure_that_walks() -> Path:
    """From a module of the project through what it imports to `exec`."""
    numbers = count()

    def node(kind: str, of: Any) -> dict[str, Any]:
        return {"is": kind, "of": of, "id": next(numbers)}

    place = "bikes.features.np._core.overrides.inspect."
    key = node("mapping dict", [["key", node("name", f"{place}builtins.exec")]])
    call = node("partial", [node("name", f"{place}builtins.max"), node("tuple", [harm("walks")]), key])
    tree = node("object", [f"{place}types.SimpleNamespace", node("mapping dict", [["predict", call]])])
    path = stored_by_adapter("walks", "bikes.reproducibility.framework.ScikitLearn")
    (path / "data" / "structure.json").write_text(json.dumps(tree))
    np.savez(path / "data" / "arrays.npz", x=np.ones(1))
    return path


def adapter_that_is_a_function() -> Path:
    features.harm = lambda: eval(harm("function"))  # type: ignore[attr-defined]
    return stored_by_adapter("function", "bikes.features.harm")


def pickle_behind_a_clean_model() -> Path:
    """The MLmodel on top is clean; the one in a folder is what MLflow obeys."""
    path = FOLDER / "behind.model"
    save(LinearRegression().fit(ROWS, [1, 2, 3]), path)
    (path / "sub").mkdir()
    (path / "sub" / "model.pkl").write_bytes(pickle.dumps(Harmful("behind")))
    written = yaml.safe_load((path / "MLmodel").read_text())
    inner = json.loads(json.dumps(written, default=str))
    inner["flavors"]["sklearn"]["serialization_format"] = "pickle"
    inner["flavors"]["python_function"]["model_path"] = "model.pkl"
    (path / "sub" / "MLmodel").write_text(yaml.safe_dump(inner))
    written["flavors"]["python_function"]["data"] = "sub"
    (path / "MLmodel").write_text(yaml.safe_dump(written))
    return path


def plain_pickle() -> Path:
    path = FOLDER / "plain.model"
    save(LinearRegression().fit(ROWS, [1, 2, 3]), path, serialization_format="pickle")
    (path / "model.pkl").write_bytes(pickle.dumps(Harmful("plain")))
    return path


def function_of_numpy_that_runs_code() -> Path:
    path = FOLDER / "numpy.model"
    runs = FunctionTransformer(functools.partial(measure, harm("numpy")))
    pipeline = Pipeline([("size", FunctionTransformer(np.size)), ("run", runs)])
    names = skops.io.get_untrusted_types(data=skops.io.dumps(pipeline))
    save(pipeline, path, skops_trusted_types=names, pyfunc_predict_fn="transform")
    return path


def save(model: Any, path: Path, serialization_format: str = "skops", **options: Any) -> None:
    requirements = ["scikit-learn"]
    mlflow.sklearn.save_model(
        model, str(path), serialization_format=serialization_format, pip_requirements=requirements, **options
    )


def main() -> None:
    said = {}
    for make in (
        structure_that_walks,
        adapter_that_is_a_function,
        pickle_behind_a_clean_model,
        plain_pickle,
        function_of_numpy_that_runs_code,
    ):
        try:
            predict._load("the run", make(), False).predict(ROWS)
            said[make.__name__] = "loaded"
        except Exception as error:
            said[make.__name__] = f"{type(error).__name__}: {error}"
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
