"""Which values a trial has: Optuna's samplers, so asked that the answer follows from numbers alone."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..common.errors import ProjectError
from .definition import Dimension, Sweep

if TYPE_CHECKING:
    import optuna

#: What a project that was made before there were sweeps adds to its dependencies.
PACKAGES = ("optuna>=5", "cmaes>=0.13")

#: Trials that the TPE sampler draws at random, before it learns from their results.
STARTUP = 8


class Planner:
    """Plans the trials of a sweep, batch by batch.

    Optuna draws a trial from what it has seen so far with one generator for all, so that its plan depends on which
    trial happened to finish first. Here trial n has a generator of its own, seeded by the sweep's seed and n, and sees
    the results of all earlier batches, in the order of their numbers, and nothing of its own batch.

    Parameters
    ----------
    sweep : Sweep
        What is searched, and how.
    """

    def __init__(self, sweep: Sweep) -> None:
        optuna = load()
        self.sweep = sweep
        self.study = optuna.create_study(direction=sweep.direction)
        self._distributions = {path: _distribution(dimension) for path, dimension in sweep.space.items()}
        self._asked: dict[int, Any] = {}

    def propose(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Give the values of the trials of the next batch."""
        return {number: self._propose(number) for number in numbers}

    def observe(self, values: Mapping[int, float | None]) -> None:
        """Take the results of a batch: the value of each trial, or None of one that failed."""
        optuna = load()
        for number, value in sorted(values.items()):
            state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
            self.study.tell(self._asked.pop(number), value, state)

    def _propose(self, number: int) -> dict[str, Any]:
        sweep = self.sweep
        if sweep.sampler == "grid":
            point = sweep.point(number)
            self.study.enqueue_trial(point)
        else:
            self.study.sampler = _sampler(sweep.sampler, seed_of(sweep.seed, number))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of experiments, and of a space for which a sampler takes another
            trial = self._asked[number] = self.study.ask(self._distributions)
        return point if sweep.sampler == "grid" else {path: trial.params[path] for path in sweep.space}


def load() -> Any:
    """Import Optuna, or say how a project comes by it."""
    try:
        import cmaes  # noqa: F401 - Optuna imports it when it is too late to say so
        import optuna
    except ImportError as error:
        lines = "\n".join(f'    "{package}",' for package in PACKAGES)
        raise ProjectError(
            f"a sweep needs {error.name}, which is not in this project's lock.",
            f"Add to `dependencies` in pyproject.toml:\n{lines}\nthen: just lock && just setup",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def seed_of(seed: int, number: int) -> int:
    """Derive the seed of a trial's sampler from the sweep's, 0 to 2**32 - 1."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    samplers = load().samplers
    if name == "random":
        return samplers.RandomSampler(seed)
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    # Optuna's defaults find worse values in batches of 8, on three test functions: that the trials of a batch shun each
    # other, and that more are drawn at random.
    return samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=False)


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    kinds = load().distributions
    if dimension.choices is not None:
        return kinds.CategoricalDistribution(dimension.choices)
    low, high = dimension.ends()
    if dimension.type == "int":
        return kinds.IntDistribution(low, high, log=dimension.log, step=int(dimension.step or 1))
    return kinds.FloatDistribution(low, high, log=dimension.log, step=dimension.step)
