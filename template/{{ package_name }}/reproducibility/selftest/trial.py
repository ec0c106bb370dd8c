"""One training of the self-test, in a process of its own: `python -m ….selftest.trial JOB FOLDER`."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import re
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..common import digest
from ..common.project import MAIN, PACKAGE, ROOT
from ..framework import FRAMEWORK
from ..randomness import seeds
from ..record import fingerprint
from . import workload
from .job import PREDICTIONS, RESULT, SEED, Job

REPEATS = 3


def stress(job: Job, folder: Path) -> dict[str, Any]:
    """Train the workload of the framework; its predictions are kept in `folder`.

    Returns
    -------
    dict
        `digests` of each part, `losses` step by step, `step`, the seconds that one took, and what can be left out,
        `switches` and `generators`, and how many `operations` there are to try.
    """
    import numpy as np

    FRAMEWORK.set_deterministic(warn_only=False, but=job.without)
    losses, times = [], []

    def note(loss: float) -> None:
        losses.append(loss)
        times.append(time.monotonic())

    parts = workload.train(job, note)
    np.save(folder / PREDICTIONS, parts["predictions"]["all"])
    later = times[len(times) // 2 :]  # the first steps prepare what the others use
    return {
        "digests": {name: digest.of_arrays(arrays) for name, arrays in parts.items()},
        "losses": losses,
        "step": (later[-1] - later[0]) / max(1, len(later) - 1),
        "switches": [*FRAMEWORK.switches(warn_only=False), *getattr(workload, "PARAMETERS", ())],
        "generators": list(workload.GENERATORS),
        "operations": len(workload.OPERATIONS),
        "machine": {
            **fingerprint.machine(),
            "kernel": " ".join(platform.uname()[:3:2]).partition("-")[0],  # what comes after it may name a company
            "precision": FRAMEWORK.precision(),
            "packages": packages(),
        },
    }


def project(job: Job, folder: Path) -> dict[str, Any]:
    """Train what the project trains, with its conf, outside any run of MLflow."""
    from .. import conf
    from ..modeling.content import Content
    from ..training import steps
    from ..training.run_object import Run

    schema, train = steps.load(importlib.import_module(f"{PACKAGE}.__main__").experiment, MAIN)
    settings: Any = conf.validate(conf.load(ROOT / "confs" / "train.yaml"), schema)
    FRAMEWORK.set_deterministic(getattr(settings, "nondeterminism", "error") == "warn", job.without)
    seeds.set_all(settings.seed)
    run = Run(settings.seed)
    result = train(settings, run)
    adapter = result.adapter or FRAMEWORK
    digests = {
        **run.stages,
        "weights": Content(adapter.content(result.model), FRAMEWORK.unpack).tree.digest,
        "predictions": Content(result.predictions).digest,
        "metrics": Content(dict(result.metrics)).digest,
    }
    return {"digests": digests}


def operations(job: Job, folder: Path) -> dict[str, Any]:
    """Try every operation of the workload's list several times, with the switches on.

    Returns
    -------
    dict
        `operations`: "repeats", "differs", or "refused" with the name by which the framework does so.
    """
    FRAMEWORK.set_deterministic(warn_only=False, but=job.without)
    seeds.set_all(SEED)
    return {"operations": {name: _try(operation, job) for name, operation in workload.OPERATIONS.items()}}


def _try(operation: Callable[[Job], Any], job: Job) -> str:
    found = set()
    try:
        for _ in range(REPEATS):
            found.add(digest.of_arrays({"": operation(job)}))
    except Exception as error:  # whatever it is, it tells about the operation
        named = FRAMEWORK.nondeterministic_operation(error)
        return f"refused: {named}" if named else f"fails: {textwrap.shorten(str(error), 100)}"
    return "repeats" if len(found) == 1 else "differs"


def packages() -> dict[str, str]:
    """List the versions of the packages that compute here."""
    found = {one.metadata["Name"].lower(): one.version for one in importlib.metadata.distributions()}
    return {name: found[name] for name in sorted(found) if re.fullmatch(workload.PACKAGES, name)}


def main() -> None:
    """Do a job, and write what came of it."""
    FRAMEWORK.quieten()  # if it fails, its last line says why
    job, folder = Job.load(sys.argv[1]), Path(sys.argv[2])
    result = {"stress": stress, "project": project, "operations": operations}[job.what](job, folder)
    (folder / RESULT).write_text(json.dumps(result), "utf-8")


if __name__ == "__main__":
    main()
