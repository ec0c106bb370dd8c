"""The code of a sweep's trials, which is one for all: those of another could not be compared with them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..common import digest
from ..common.errors import ProjectError
from ..common.project import ROOT

#: In a sweep's run: the digest of each file that its trials imported.
FILE = "sweep/code.json"


def recorded(run_id: str) -> dict[str, str]:
    """Give the digest of each file that the trials of a sweep imported, as far as it came."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return dict(json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{FILE}")))
    except (MlflowException, OSError):  # before the first trial has ended
        return {}


def record(code: Mapping[str, str]) -> None:
    """Write down in the sweep's run, which is MLflow's active one, what its trials have imported."""
    import mlflow

    mlflow.log_text(json.dumps(code, indent=0), FILE)


def other(code: Mapping[str, str], modules: Mapping[str, str]) -> str:
    """Name a file that a trial had otherwise than those before it; "" if there is none."""
    return next((path for path, was in modules.items() if code.get(path, was) != was), "")


def require_here(run_id: str) -> None:
    """Refuse to go on with a sweep whose trials were of other code than what is here."""
    for path, was in recorded(run_id).items():
        if not digest.fits(ROOT / path, was):
            raise edited(path, run_id)


def edited(path: str, run_id: str) -> ProjectError:
    """Say that code is another than that of a sweep's trials."""
    return ProjectError(
        f"{path} is not as the trials of the sweep {run_id} had it, which could not be compared with later ones.",
        f"Put it back (git stash, git checkout), then: just sweep --resume {run_id}\nor begin anew: just sweep",
    )
