"""Every estimator of scikit-learn, as its own tests construct it: told apart, told equal, stored and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, sample_of
from oracle import ask, hold

SHARDS = 20
#: What has no format but pickle, and why.
NOT_STORED = {"Birch": "skops does not support its linked lists"}


def check(project: Project, shard: int, folder: Path) -> None:
    """Fit, store and load a shard of the estimators in fresh processes."""
    arguments = (str(shard), str(SHARDS), str(folder))
    first = ask(project, "estimators.py", "first", *arguments)
    assert len(first) > 8
    hold(first, ask(project, "estimators.py", "again", *arguments, hash_seed=2), NOT_STORED)


@pytest.mark.e2e
def test_a_sample_of_the_estimators(set_up: Callable[..., Project], tmp_path: Path) -> None:
    check(set_up("classification"), sample_of(SHARDS), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_estimator(set_up: Callable[..., Project], tmp_path: Path, shard: int) -> None:
    check(set_up("classification"), shard, tmp_path)
