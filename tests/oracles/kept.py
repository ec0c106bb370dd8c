"""Keep models of many kinds as a run does, and predict with each as its users do.

Run with a rendered project's Python, in its folder, where `bikes/brought.py` has the models: `python kept.py log DIR`
logs each to a store in the folder; after that, in another process, `python kept.py load FOLDER` loads each by MLflow's
own `mlflow.pyfunc.load_model`, and predicts. Prints one JSON object: by model, its tags and its answers.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from bikes import brought
from bikes.reproducibility import Result
from bikes.reproducibility.environment.lockfile import RUNTIME_LOCK
from bikes.reproducibility.framework import FRAMEWORK
from bikes.reproducibility.record.predictions import as_table
from bikes.reproducibility.record.stored_model import STORED, Kept
from bikes.reproducibility.source import capture, imports, used_files


def log(store: Path) -> dict[str, Any]:
    """Log every model of `brought.kept()`."""
    found = {}
    for name, model, inputs in brought.kept():
        with mlflow.start_run():
            predictions = np.asarray(FRAMEWORK.predict(model, inputs))
            kept = Kept(Result(model, inputs, predictions, {}))
            before: dict[str, str] = {}
            kept.note(before)
            tags = kept.log(str(RUNTIME_LOCK), "none", used_files.settle(capture.capture(), imports.taken()))
            after: dict[str, str] = {}
            kept.note(after)
            found[name] = {
                **tags,
                "stages": [*before],
                "unchanged": before == after,
                "answer": np.asarray(predictions, dtype=float).ravel().tolist(),
            }
    (store / "logged.json").write_text(json.dumps(found))
    return found


def load(store: Path) -> dict[str, Any]:
    """Load every model that was stored, and predict."""
    from bikes.reproducibility.serving.predict import _inputs, _load

    found = {}
    logged = json.loads((store / "logged.json").read_text())
    for name, inputs in {name: inputs for name, _, inputs in brought.kept()}.items():
        if uri := logged[name].get(STORED):
            path = Path(mlflow.artifacts.download_artifacts(uri))
            loaded = _load(name, path, allow_unsafe=False)
            rows = _inputs(inputs, loaded.metadata, name) if isinstance(inputs, pd.DataFrame) else inputs
            found[name] = np.asarray(as_table(loaded.predict(rows)), dtype=float).ravel().tolist()
    return found


if __name__ == "__main__":
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    folder = Path(sys.argv[2])
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(sys.argv[1], (folder / "artifacts").as_uri()))
    json.dump(log(folder) if sys.argv[1] == "log" else load(folder), sys.stdout)
