"""The stress workload of LightGBM: many rows, rows and columns drawn by chance, categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import lightgbm

from . import boosting
from .boosting import GENERATORS as GENERATORS
from .job import Job

if TYPE_CHECKING:
    import numpy as np

#: Of the packages that compute, the names as a pattern.
PACKAGES = r"lightgbm|numpy|scipy"
#: Switches that are parameters of each training.
PARAMETERS: Mapping[str, Mapping[str, bool]] = {
    "deterministic=True": {"deterministic": True},
    "force_row_wise=True": {"force_row_wise": True},
}
#: So many that each thread adds up a part of them.
ROWS = 100_000
OPERATIONS: Mapping[str, Callable[[Job], Any]] = {}


def train(job: Job, note: Callable[[float], None]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Boost trees.

    Parameters
    ----------
    job : Job
        `steps` rounds; a checkpoint is kept after each epoch.
    note : callable
        Takes the loss of each round.

    Returns
    -------
    dict of str to dict of str to numpy.ndarray
        `weights`, the trees as LightGBM stores them, and `predictions`.
    """
    import numpy as np

    table, target = boosting.rows(job, ROWS)
    parameters: dict[str, Any] = {
        "objective": "regression",
        "num_leaves": 63,
        "bagging_freq": 1,
        "bagging_fraction": 0.8,
        "feature_fraction_bynode": 0.8,
        "num_threads": job.threads,
        "verbosity": -1,
    }
    for name, switch in PARAMETERS.items():
        if name not in job.without:
            parameters |= switch

    def stored(content: bytes) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=content.decode())

    def grow(content: bytes, rounds: int, drawn: dict[str, Any]) -> bytes:
        def live(state: lightgbm.callback.CallbackEnv) -> None:
            job.live(state.iteration)

        live.before_iteration = True  # type: ignore[attr-defined]
        learned = lightgbm.Dataset(
            table, target, params=parameters | drawn, categorical_feature=list(range(boosting.CATEGORIES))
        )
        booster = lightgbm.train(
            parameters | drawn,
            learned,
            num_boost_round=rounds,
            init_model=stored(content) if content else None,
            valid_sets=[learned],
            callbacks=[live, lambda state: note(state.evaluation_result_list[0][2])],
        )
        return str(booster.model_to_string(num_iteration=-1)).encode()

    content = boosting.boost(job, lambda content: int(stored(content).current_iteration()), grow)
    trees = content.partition(b"end of trees")[0]  # what follows names the number of threads
    predictions = stored(content).predict(table[: boosting.PREDICTED], num_threads=job.threads)
    return {
        "weights": {"trees": np.frombuffer(trees, "uint8")},
        "predictions": {"all": np.asarray(predictions)},
    }
