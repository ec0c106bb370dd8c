"""Whether the proof of a step still holds: a finished run of it, of the very same parts as a new one would be."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from ..common import digest
from ..common.errors import ProjectError
from ..common.exit_codes import DIFFERENT
from ..common.project import ROOT
from ..datasets import manifest, remembered, verification
from ..environment import lockfile
from ..randomness import launch
from ..record import inputs, makers

#: So many runs of a step are looked at, the newest first.
TRIED = 20


def find(step: str, settings: dict[str, Any], standing: Mapping[str, str]) -> tuple[Any | None, str]:
    """Find the run that stands for a step as it is now.

    Parameters
    ----------
    step : str
        Its name.
    settings : dict
        Its conf.
    standing : Mapping of str to str
        The runs that stand for the steps which it needs.

    Returns
    -------
    tuple of (mlflow.entities.Run or None, str)
        The run; or none, and what is not any more as the newest one had it.
    """
    why = "it has not been done yet"
    for number, run in enumerate(itertools.islice(makers.runs_of(step), TRIED)):
        changed = _changed(run, settings, standing)
        if not changed:
            return run, ""
        if number == 0:
            why = f"since run {run.info.run_id[:8]}: {changed}"
    return None, why


def _changed(run: Any, settings: dict[str, Any], standing: Mapping[str, str]) -> str:
    """Say what of a run is not as a new one's would be; "" if nothing."""
    content = makers.recorded(run)
    if not content:
        return "its record is gone, or not its own"
    if run.data.tags.get("repro.verdict") == DIFFERENT:
        return "it was reproduced, and gave another result"
    if content.get("given") != digest.of_value(settings) and not _resumed(run, settings):
        return "its conf changed"
    environment = content["environment"]
    if environment["lock"] != digest.of_file(lockfile.RUNTIME_LOCK) or not environment["as_locked"]:
        return "constraints.txt changed"
    if environment.get("container") or content["launch"] != launch.variables(settings["seed"], settings["threads"]):
        return "it was launched in another way"
    edited = [path for path, was in content["code"]["modules"].items() if not digest.fits(ROOT / path, was)]
    if edited:
        more = f" and {len(edited) - 1} more files" if len(edited) > 1 else ""
        return f"{edited[0]}{more} changed"
    return _changed_input(content, settings, standing) or _changed_data(content)


def _resumed(run: Any, settings: dict[str, Any]) -> bool:
    """Tell whether a run went on from a checkpoint, whose conf is complete, and had nothing else than the conf has."""
    import mlflow
    import yaml

    if "repro.resumes" not in run.data.tags:
        return False
    text = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/record/conf.yaml")
    return digest.of_value(yaml.safe_load(text)) == digest.of_value(settings)


def _changed_input(content: dict[str, Any], settings: dict[str, Any], standing: Mapping[str, str]) -> str:
    for name, address in inputs.addresses(settings).items():
        had = content["inputs"][name]
        if not inputs.is_still(name, had, address, standing):
            return f"the input {name} is another"
    return ""


def _changed_data(content: dict[str, Any]) -> str:
    known = manifest.read_manifest()
    for name, entry in content["data"].items():
        if name not in known or known[name].entry() != entry:
            return f"the dataset {name} is another"
        try:
            if known[name].file.exists():  # else a run would be given what is registered
                verification.verify(known[name], remember=remembered.allowed())
        except ProjectError:
            return f"the dataset {name} is not as registered"
    return ""
