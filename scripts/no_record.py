"""What `just bench` adds to the end of a project's `reproducibility/record.py`: all that is logged, and no record.

Settings, metrics, figures and model go to MLflow by the same calls. What was not asked for by anyone who only tracks
is gone: the code, the lock, the fingerprint, the digests, the folder `record/` and the tags.
"""

from typing import Any

from . import conf, environment, keep


class Recorder:
    def __init__(self, settings: dict[str, Any], seeded: dict[str, int]) -> None:
        self.settings = settings

    def start(self) -> None:
        import mlflow

        mlflow.log_params(conf.flatten(self.settings))

    def finish(self, run: Any, result: Any) -> str:
        import mlflow

        mlflow.log_metrics({name: float(value) for name, value in result.metrics.items()})
        for name, figure in result.figures.items():
            mlflow.log_figure(figure, f"plots/{name}.png")
        keep.Kept(result).log(str(environment.RUNTIME_LOCK), "none", {})
        return "none"
