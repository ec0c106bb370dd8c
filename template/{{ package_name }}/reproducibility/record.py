"""The record of a run: all that it takes to execute it again, as parameters, tags and the artifact folder `record/`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from . import conf, digest, environment, fingerprint, framework, imports, launch, source
from .project import PACKAGE

if TYPE_CHECKING:
    from .run import Result, Run

SCHEMA_VERSION = 2


class Recorder:
    """Collects what a run was made of, and logs it to the active MLflow run.

    Parameters
    ----------
    settings : dict
        The resolved conf.
    seeded : dict of str to int
        The generators that were seeded.
    """

    def __init__(self, settings: dict[str, Any], seeded: dict[str, int]) -> None:
        self.settings = settings
        self.seeded = seeded
        self.code = source.capture()
        # Read once: the file may change while the run goes on.
        self.lock_bytes = environment.RUNTIME_LOCK.read_bytes()
        self.lock = digest.of_bytes(self.lock_bytes)
        self.launch = launch.recorded(settings["seed"], settings["threads"])

    def start(self) -> None:
        """Log what is known before training: also a run that fails says what it was."""
        import mlflow

        mlflow.log_params(conf.flatten(self.settings))
        mlflow.set_tags(
            {
                "repro.seed": self.settings["seed"],
                "repro.commit": self.code.commit,
                "repro.dirty": self.code.dirty,
                "repro.environment": self.lock,
                "repro.project": PACKAGE,
            }
        )

    def finish(self, run: Run, result: Result) -> str:
        """Log the result, its digests and the record.

        Returns
        -------
        str
            The digest of the result: metrics, predictions and weights.
        """
        import mlflow

        run.stage("weights", framework.weights(result.model))
        run.stage("probe", framework.probe(result.model, result.inputs))
        run.stage("predictions", result.predictions)
        run.stage("metrics", {name: float(value) for name, value in result.metrics.items()})
        outcome = digest_of_result(run.stages)
        mlflow.log_metrics({name: float(value) for name, value in result.metrics.items()})
        for name, figure in result.figures.items():
            mlflow.log_figure(figure, f"plots/{name}.png")
        modules = self.code.settle(imports.taken())
        content = {
            "schema": SCHEMA_VERSION,
            "project": PACKAGE,
            "code": {**self.code.content(), "modules": modules},
            "seeded": self.seeded,
            "launch": self.launch,
            "environment": {"lock": self.lock, "as_locked": environment.is_as_locked(), **fingerprint.take()},
            "data": {name: entry.entry() for name, entry in run.datasets.items()},
            "model": framework.kind(result.model),
            "stages": run.stages,
            "metrics": {name: float(value).hex() for name, value in result.metrics.items()},
            "result": outcome,
        }
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "record")
            folder.mkdir()
            lock = folder / environment.RUNTIME_LOCK.name
            lock.write_bytes(self.lock_bytes)
            (folder / "conf.yaml").write_text(yaml.safe_dump(self.settings, sort_keys=False), "utf-8")
            for name, patch in self.code.patches().items():
                (folder / name).write_bytes(patch)
            _table(result.predictions).to_parquet(folder / "predictions.parquet", index=False)
            (folder / "record.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
            mlflow.log_artifacts(str(folder), "record")
            model = framework.log_model(result.model, result.inputs, result.predictions, str(lock))
        mlflow.set_tags(
            {
                "repro.data": json.dumps({name: entry.digest for name, entry in sorted(run.datasets.items())}),
                "repro.model": model,
                "repro.result": outcome,
                "repro.reproducible": self._say_from_where(),
            }
        )
        return outcome

    def _say_from_where(self) -> str:
        """Tell from where the run can be reproduced, and warn where that is not from everywhere."""
        if self.code.commit == "none":
            why = self.code.refused or "no git commit: git init && git add -A"
            print(f"notice: nobody can reproduce this run: {why}", file=sys.stderr)
        for entry in self.code.left_out:
            print(f"notice: {entry['path']} is not in the record: {entry['why']}.", file=sys.stderr)
        if self.code.left_out:
            print("notice: this run can be reproduced only where these files still are. Commit them.", file=sys.stderr)
        for reason in self.code.all_only_here:
            print(f"notice: this run can be reproduced only from here: {reason}.", file=sys.stderr)
        return self.code.reproducible


def digest_of_result(stages: dict[str, str]) -> str:
    """Put the digests of weights, predictions and metrics together."""
    return digest.of_value({stage: stages[stage] for stage in ("weights", "predictions", "metrics")})


def _table(predictions: Any) -> Any:
    import numpy as np
    import pandas as pd

    array = np.asarray(predictions)
    columns = array.reshape(len(array), -1)
    return pd.DataFrame({f"prediction {i}" if i else "prediction": column for i, column in enumerate(columns.T)})
