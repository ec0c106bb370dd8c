"""The stress workload of XGBoost: many rows, rows and columns drawn by chance, categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import xgboost

from . import boosting
from .boosting import GENERATORS as GENERATORS
from .job import Job

if TYPE_CHECKING:
    import numpy as np

#: Of the packages that compute, the names as a pattern.
PACKAGES = r"xgboost.*|numpy|scipy|nvidia-.*"
ROWS = 50_000
OPERATIONS: Mapping[str, Callable[[Job], Any]] = {}


class _Steps(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """Counts the rounds, and notes their losses."""

    def __init__(self, job: Job, done: int, note: Callable[[float], None]) -> None:
        self.job = job
        self.done = done
        self.note = note

    def before_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[float]]]) -> bool:
        self.job.live(self.done)
        return False

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[float]]]) -> bool:
        self.done += 1
        self.note(float(evals_log["rows"]["rmse"][-1]))
        return False


def train(job: Job, note: Callable[[float], None]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Boost trees.

    Parameters
    ----------
    job : Job
        `steps` rounds on its device; a checkpoint is kept after each epoch.
    note : callable
        Takes the loss of each round.

    Returns
    -------
    dict of str to dict of str to numpy.ndarray
        `weights`, the booster as XGBoost stores it, and `predictions`.
    """
    import numpy as np

    table, target = boosting.rows(job, ROWS)
    kinds = ["c"] * boosting.CATEGORIES + ["q"] * boosting.NUMBERS
    form = {"feature_types": kinds, "enable_categorical": True, "nthread": job.threads or None}
    learned = xgboost.DMatrix(table, target, **form)
    parameters: dict[str, Any] = {
        "objective": "reg:squarederror",
        "max_depth": 3 if job.plain else 7,  # deep down, two splits can be equally good
        "tree_method": "hist",
        "nthread": job.threads,
        "device": job.device,
    }
    if not job.plain:
        parameters |= {"subsample": 0.8, "colsample_bynode": 0.8}

    def stored(content: bytes) -> xgboost.Booster:
        return xgboost.Booster({"device": job.device, "nthread": job.threads}, model_file=bytearray(content))

    def grow(content: bytes, rounds: int, drawn: dict[str, Any]) -> bytes:
        former = stored(content) if content else None
        booster = xgboost.train(
            parameters | drawn,
            learned,
            num_boost_round=rounds,
            xgb_model=former,
            evals=[(learned, "rows")],
            callbacks=[_Steps(job, former.num_boosted_rounds() if former else 0, note)],
            verbose_eval=False,
        )
        return bytes(booster.save_raw("ubj"))

    content = boosting.boost(job, lambda content: int(stored(content).num_boosted_rounds()), grow)
    return {
        "weights": {"booster": np.frombuffer(content, "uint8")},
        "predictions": {"all": stored(content).predict(xgboost.DMatrix(table[: boosting.PREDICTED], **form))},
    }
