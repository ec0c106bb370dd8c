"""The outcome of a self-test: kept here for the doctor, and in the tracking store for everyone."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

from ..common import terminal
from ..common.errors import ProjectError
from ..common.files import write_whole
from ..common.project import PACKAGE, ROOT
from ..record import fingerprint
from . import show

#: Of this machine, so not for git.
FILE = ROOT / ".selftest.json"
#: What may change between a self-test and later trainings, and end what it proved.
PROVEN_FOR = ("gpu", "cpu", "libc", "machine", "python")
AGAIN = "just selftest"


def keep(content: dict[str, Any]) -> None:
    """Keep an outcome: as a file of this folder, and as a run with a page in the store, if the store takes it.

    Parameters
    ----------
    content : dict
        As `plan.run` gives it.
    """
    write_whole(FILE, json.dumps(content, indent=2) + "\n")
    print(f"kept in {FILE.name}, which may be attached to a report of a fault", end="")
    try:
        print(f", and as run {_log(content)}")
    except ProjectError as error:
        print()
        terminal.notice(f"not in the tracking store: {error.cause}")


def _log(content: dict[str, Any]) -> str:
    """Log an outcome as a run of an experiment beside the project's own, and give its ID."""
    from ..store import tracking

    tracking.require_store()
    tracking.open_experiment(f"{tracking.experiment_name()}-selftest")
    import mlflow
    from mlflow.exceptions import MlflowException

    tags = {"repro.project": PACKAGE, "repro.selftest": "repeats" if content["repeats"] else "does not repeat"}
    try:
        with mlflow.start_run(run_name=f"{content['device']} {content['date']}", tags=tags) as run:
            mlflow.log_params({"device": content["device"], "steps": content["steps"]})
            mlflow.log_dict(content, "selftest.json")
            mlflow.log_text(show.page(content), "selftest.html")
    except MlflowException as error:
        raise tracking.explain(error) from error
    return str(run.info.run_id)


def finding() -> tuple[bool, str, str]:
    """Say for the doctor what the last self-test proved of this machine, and what has changed since."""
    what = "training repeats here"
    try:
        content = json.loads(FILE.read_text("utf-8"))
        then, found = content["machine"], _changes(content["machine"])
    except FileNotFoundError:
        return True, f"{what}: not tried: {AGAIN}", ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False, f"{FILE.name} cannot be read", AGAIN
    where = f"{content['date']} on {content['device']}" + "".join(f", {gpu}" for gpu in then["gpu"])
    if not content["repeats"]:
        return False, f"training did not repeat on {where}", f"{AGAIN}      says where it parts"
    since = f"; since then another {', '.join(found)}: {AGAIN}" if found else ""
    return True, f"{what}: proven on {where}{since}", ""


def _changes(then: dict[str, Any]) -> list[str]:
    """Name what of a machine is not as it was then."""
    now = fingerprint.machine()
    changed = ["driver or GPU" if name == "gpu" else name for name in PROVEN_FOR if then[name] != now[name]]
    for name, version in then["packages"].items():
        try:
            if importlib.metadata.version(name) != version:
                changed.append(name)
        except importlib.metadata.PackageNotFoundError:
            changed.append(name)
    return changed
