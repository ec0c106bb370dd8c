"""A stored model runs no code of strangers, however it names it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project

import harness

trust = harness.load("modeling.trust")
ORACLE = Path(__file__).parent / "oracles" / "hostile_models.py"


@pytest.mark.e2e
def test_hostile_models_are_refused_and_run_nothing(set_up: Callable[..., Project], tmp_path: Path) -> None:
    project = set_up("classification")
    done = subprocess.run(
        [str(project.path / ".venv/bin/python"), str(ORACLE), str(tmp_path)],
        cwd=project.path,
        env=os.environ | {"PYTHONPATH": str(project.path), "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
    )
    said = json.loads(done.stdout)
    assert len(said) == 5
    assert all(text.startswith("ProjectError: ") for text in said.values()), said
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".model"] == []


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.linear_model._base.LinearRegression",
        "numpy.log1p",
        "scipy.special._ufuncs.expit",
        "numpy.clip",
        "numpy.ndarray",
        "sklearn.metrics._classification.accuracy_score",
        "builtins.range",
        "functools.partial",
    ],
)
def test_what_only_computes_may_be_named(name: str) -> None:
    assert trust.is_trusted(name)


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "os.system",
        "numpy.load",
        "numpy.save",
        "numpy.memmap",
        "numpy.testing._private.utils.runstring",
        "numpy.f2py.compile",
        "numpy._core.overrides.inspect.builtins.exec",
        "sklearn.datasets._base.load_files",
        "sklearn.externals._packaging.version.parse",
        "sklearn.linear_model._base.np.load",
        "sklearn.utils._joblib.joblib.load",
        "sklearn.nowhere",
        "numpy.os.system",
        "scipy.io.savemat",
        "",
    ],
)
def test_what_may_do_more_may_not_be_named(name: str) -> None:
    assert not trust.is_trusted(name)
