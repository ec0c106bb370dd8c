"""Every estimator of scikit-learn, as its own tests construct it: told apart, told equal, stored and loaded."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, sample_of

ORACLE = Path(__file__).parent / "oracles" / "estimators.py"
SHARDS = 20
ENVIRONMENT = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
#: What has no format but pickle, and why.
NOT_STORED = {"Birch": "skops does not support its linked lists"}


def ask(project: Project, time: str, shard: int, folder: Path, hash_seed: int) -> dict[str, dict[str, Any]]:
    """Fit, store and load a shard of the estimators in a fresh process."""
    python = str(project.path / ".venv/bin/python")
    done = subprocess.run(
        [python, str(ORACLE), time, str(shard), str(SHARDS), str(folder)],
        cwd=project.path,
        env=os.environ | ENVIRONMENT | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(project.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


def check(project: Project, shard: int, folder: Path) -> None:
    """Hold the harness to what the estimators themselves answer."""
    first, again = (ask(project, time, shard, folder, hash_seed=len(time)) for time in ("first", "again"))
    assert len(first) > 8
    for name, one in first.items():
        two = again[name]
        assert one["answer"] == two["answer"], f"{name} does not repeat itself: the test proves nothing"
        parts = [path for path, part in one["parts"].items() if two["parts"].get(path) != part]
        assert one["content"] == two["content"], f"{name}: equal, and called different in {parts}"
        if one["answer"] != two["other"]["answer"]:
            assert one["content"] != two["other"]["content"], f"{name}: different, and called equal"
        assert bool(one["not stored"]) == (name in NOT_STORED), f"{name}: {one['not stored'] or 'stored'}"
        if name not in NOT_STORED:
            assert two["loaded"] == one["answer"], f"{name} answers otherwise once it was stored"


@pytest.mark.e2e
def test_a_sample_of_the_estimators(set_up: Callable[..., Project], tmp_path: Path) -> None:
    check(set_up("classification"), sample_of(SHARDS), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_estimator(set_up: Callable[..., Project], tmp_path: Path, shard: int) -> None:
    check(set_up("classification"), shard, tmp_path)
