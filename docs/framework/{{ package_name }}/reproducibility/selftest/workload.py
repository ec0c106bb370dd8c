"""The stress workload of NumPy: products and decompositions of matrices that BLAS shares among threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .job import Job

#: Of the packages that compute, the names as a pattern.
PACKAGES = r"numpy|threadpoolctl"
#: The generators that it draws from, as `seeds.set_all` names them.
GENERATORS = ("numpy.random",)
SIZE = 200
OPERATIONS: Mapping[str, Callable[[Job], Any]] = {}


def train(job: Job, note: Callable[[float], None]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Multiply and decompose a matrix step by step, with numbers drawn for each; no checkpoints are kept."""
    matrix = job.rng("matrix").normal(size=(SIZE, SIZE))[np.argsort(job.numbers(SIZE))]
    job.reseed("steps")
    for step in range(job.steps):
        job.live(step)
        matrix = matrix @ np.random.normal(size=matrix.shape)
        matrix /= np.linalg.svd(matrix, compute_uv=False)[0]
        note(float(np.mean(matrix**2)))
    return {"weights": {"matrix": matrix}, "predictions": {"all": matrix[0]}}
