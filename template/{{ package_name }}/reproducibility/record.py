"""The record of a run: all that it takes to repeat it, as parameters, tags and the artifact folder `record/`."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from . import conf, digest, environment, framework, launch, source
from .project import PACKAGE

if TYPE_CHECKING:
    from .run import Result, Run

SCHEMA_VERSION = 1


class Record:
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
        self.state = source.state()
        # Read once: the file may change while the run goes on.
        self.lock_bytes = environment.RUNTIME_LOCK.read_bytes()
        self.lock = f"sha256:{hashlib.sha256(self.lock_bytes).hexdigest()}"
        self.launch = launch.recorded(settings["seed"], settings["threads"])

    def start(self) -> None:
        """Log what is known before training: also a run that fails says what it was."""
        import mlflow

        mlflow.log_params(conf.flatten(self.settings))
        mlflow.set_tags(
            {
                "repro.seed": self.settings["seed"],
                "repro.commit": self.state["commit"],
                "repro.dirty": self.state["dirty"],
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
        run.stage("predictions", result.predictions)
        run.stage("metrics", dict(result.metrics))
        outcome = digest.of_value({stage: run.stages[stage] for stage in ("weights", "predictions", "metrics")})
        mlflow.log_metrics({name: float(value) for name, value in result.metrics.items()})
        for name, figure in result.figures.items():
            mlflow.log_figure(figure, f"plots/{name}.png")
        with tempfile.TemporaryDirectory() as folder:
            lock = Path(folder, environment.RUNTIME_LOCK.name)
            lock.write_bytes(self.lock_bytes)
            mlflow.log_artifact(str(lock), "record")
            model = framework.log_model(result.model, result.inputs, result.predictions, str(lock))
        content = {
            "schema": SCHEMA_VERSION,
            "code": self.state,
            "seeded": self.seeded,
            "launch": self.launch,
            "environment": {"lock": self.lock},
            "data": {name: entry.entry() for name, entry in run.datasets.items()},
            "stages": run.stages,
            "metrics": {name: float(value).hex() for name, value in result.metrics.items()},
            "result": outcome,
        }
        mlflow.log_dict(content, "record/record.json")
        mlflow.log_text(yaml.safe_dump(self.settings, sort_keys=False), "record/conf.yaml")
        mlflow.set_tags(
            {
                "repro.data": json.dumps({name: entry.digest for name, entry in sorted(run.datasets.items())}),
                "repro.model": model,
                "repro.result": outcome,
            }
        )
        return outcome
