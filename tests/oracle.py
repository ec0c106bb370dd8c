"""Oracles: programs of tests/oracles/ that ask models themselves, in a rendered project."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

from conftest import Project

FOLDER = Path(__file__).parent / "oracles"
ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",
}


def ask(project: Project, oracle: str, *arguments: str, hash_seed: int = 1) -> dict[str, dict[str, Any]]:
    """Run an oracle in a project, in a fresh process."""
    done = subprocess.run(
        [str(project.path / ".venv/bin/python"), str(FOLDER / oracle), *arguments],
        cwd=project.path,
        env=os.environ | ENVIRONMENT | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(project.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def hold(
    first: dict[str, dict[str, Any]],
    again: dict[str, dict[str, Any]],
    not_stored: Collection[str],
    not_made: Collection[str] = (),
) -> None:
    """Hold the harness to what the models themselves answer.

    Parameters
    ----------
    first, again : dict of str to dict
        What an oracle says of each model in two processes.
    not_stored : Collection of str
        The models that cannot be stored.
    not_made : Collection of str
        Patterns of the names of models that cannot be made.
    """
    for name, one in first.items():
        if "left out" in one:
            assert any(re.fullmatch(pattern, name) for pattern in not_made), f"{name}: {one['left out']}"
            continue
        two = again[name]
        assert one["answer"] == two["answer"], f"{name} does not repeat itself: the test proves nothing"
        parts = [path for path, part in one["parts"].items() if two["parts"].get(path) != part]
        assert one["content"] == two["content"], f"{name}: equal, and called different in {parts}"
        assert one["content"] == one.get("after", one["content"]), f"{name} is called another once it was asked"
        for other in (two["other"], two.get("threads", two)):
            if one["answer"] != other["answer"]:
                assert one["content"] != other["content"], f"{name}: different, and called equal"
        if one["answer"] == two.get("threads", {}).get("answer"):
            assert one["content"] == two["threads"]["content"], f"{name} is called another for its threads"
        assert bool(one["not stored"]) == (name in not_stored), f"{name}: {one['not stored'] or 'stored'}"
        if name not in not_stored:
            assert two["loaded"] == one["answer"], f"{name} answers otherwise once it was stored"
