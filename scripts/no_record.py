"""What `just bench` adds to the end of a project's `record/recorder.py`: all that is logged, and no record.

Settings, metrics, figures and model go to MLflow by the same calls. What was not asked for by anyone who only tracks
is gone: the code, the lock, the fingerprint, the digests, the folder `record/` and the tags.
"""

from typing import Any

from .. import conf
from ..environment import lockfile
from . import stored_model


class Recorder:
    def __init__(self, settings: dict[str, Any], seeded: dict[str, int]) -> None:
        self.settings = settings

    def start(self) -> None:
        import mlflow

        mlflow.log_params(conf.flatten(self.settings))

    def finish(self, result: Any, stages: Any, data: Any) -> str:
        import mlflow

        mlflow.log_metrics({name: float(value) for name, value in result.metrics.items()})
        for name, figure in result.figures.items():
            mlflow.log_figure(figure(), f"plots/{name}.png")
        stored_model.Kept(result).log(str(lockfile.RUNTIME_LOCK), "none", {})
        return "none"
