"""The stress workload of scikit-learn: estimators that draw and that share their work among threads, one on another."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge, SGDRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline

from ..framework import FRAMEWORK
from ..modeling.content import Content
from .job import Job

if TYPE_CHECKING:
    import numpy as np

#: Of the packages that compute, the names as a pattern.
PACKAGES = r"scikit-learn|numpy|scipy|joblib|threadpoolctl"
#: The generators that it draws from, as `seeds.set_all` names them.
GENERATORS = ("random", "numpy.random")
ROWS, COLUMNS = 4000, 50
OPERATIONS: Mapping[str, Callable[[Job], Any]] = {}
#: Each makes an estimator from a number of threads. BLAS, OpenMP and joblib all have a part in them.
KINDS: tuple[Callable[[int], Any], ...] = (
    lambda threads: make_pipeline(PCA(20, svd_solver="randomized"), Ridge()),
    lambda threads: RandomForestRegressor(8, max_features=0.3, max_samples=0.5, max_depth=8, n_jobs=threads),
    lambda threads: make_pipeline(KMeans(20, n_init=1), Ridge()),
    lambda threads: HistGradientBoostingRegressor(max_iter=5, max_features=0.5, early_stopping=False),
    lambda threads: MLPRegressor(hidden_layer_sizes=(50,), max_iter=3, early_stopping=True),
    lambda threads: ExtraTreesRegressor(8, max_features=0.3, max_depth=8, bootstrap=True, n_jobs=threads),
    lambda threads: make_pipeline(PCA(20, svd_solver="full"), SGDRegressor(max_iter=5)),
)


def train(job: Job, note: Callable[[float], None]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Fit one estimator after the other, each to what those before it leave.

    Parameters
    ----------
    job : Job
        `steps` estimators; no checkpoints are kept.
    note : callable
        Takes the mean square of what each leaves.

    Returns
    -------
    dict of str to dict of str to numpy.ndarray
        `weights`, the digest of each estimator's content, and `predictions`.
    """
    import numpy as np

    table, target = _rows(job)
    predictions = np.zeros(ROWS)
    weights = {}
    job.reseed("estimators")  # all draw from NumPy's generator: there is no random_state
    for step, kind in enumerate(islice(cycle(KINDS), job.steps)):
        job.live(step)
        left = target - predictions
        chosen = random.sample(range(ROWS), ROWS * 9 // 10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are enough here
            estimator = kind(job.threads or -1).fit(table[chosen], left[chosen])
        predictions = predictions + estimator.predict(table) / 2
        weights[str(step)] = _digest(estimator)
        note(float(np.mean((target - predictions) ** 2)))
    return {"weights": weights, "predictions": {"all": predictions}}


def _rows(job: Job) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Make a table, and the number to learn for each row."""
    import numpy as np

    rng = job.rng("rows")
    order = np.argsort(job.numbers(COLUMNS))
    table = rng.normal(size=(ROWS, COLUMNS)) @ rng.normal(size=(COLUMNS, COLUMNS)) / np.sqrt(COLUMNS)
    target = table[:, 0] * table[:, 1] + np.sin(3 * table[:, 2]) + table[:, 3] + 0.5 * rng.normal(size=ROWS)
    return table[:, order], target


def _digest(estimator: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.frombuffer(Content(FRAMEWORK.content(estimator), FRAMEWORK.unpack).tree.digest.encode(), "uint8")
