"""The steps of a project in the order of their inputs."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import conf
from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.project import ROOT
from ..randomness import launch
from ..record import inputs


def conf_of(step: str) -> Path:
    """Name the conf file of a step."""
    return ROOT / "confs" / f"{step}.yaml"


def load(steps: Iterable[str], target: str | None = None) -> dict[str, dict[str, Any]]:
    """Read the confs of the steps, those first that others need.

    Parameters
    ----------
    steps : iterable of str
        The project's.
    target : str, optional
        Only this one and what it needs.

    Returns
    -------
    dict of str to dict
        The settings of each step, in an order in which they can be done.

    Raises
    ------
    ProjectError
        If a conf cannot be read, asks something of a step that there is not, or steps need each other in a circle.
    """
    known = [*steps]
    if target is not None and target not in known:
        raise ProjectError(f"this project has no step {target!r}; it has {', '.join(known)}.", "just pipeline", USAGE)
    settings: dict[str, dict[str, Any]] = {}
    waiting = [target] if target is not None else [*known]
    while waiting:
        step = waiting.pop()
        if step not in settings:
            settings[step] = _conf(step)
            waiting += needs(step, settings[step], known)
    try:
        order = graphlib.TopologicalSorter(graph(settings)).static_order()
        return {step: settings[step] for step in order}
    except graphlib.CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ProjectError(
            f"these steps need each other in a circle: {circle}.", "Change `inputs:` of one of their confs."
        ) from error


def _conf(step: str) -> dict[str, Any]:
    """Read the conf of a step, as far as it says how that is launched."""
    found = conf.load(conf_of(step))
    try:
        launch.variables(found.get("seed"), found.get("threads"))  # type: ignore[arg-type]
    except ProjectError as error:
        raise ProjectError(f"confs/{step}.yaml: {error.cause}", error.fix) from error
    return found


def graph(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Say which steps each one needs."""
    return {step: inputs.steps(own) for step, own in settings.items()}


def is_line(settings: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether no two steps could be done side by side."""
    sorter = graphlib.TopologicalSorter(graph(settings))
    sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        if len(ready) > 1:
            return False
        sorter.done(*ready)
    return True


def needs(step: str, settings: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """Name the steps that one needs, all of which the project must have."""
    wanted = sorted(inputs.steps(settings))
    if strange := [other for other in wanted if other not in known]:
        raise ProjectError(
            f"confs/{step}.yaml asks something of a step {strange[0]!r}, which __main__.py does not name.",
            f"It names: {', '.join(known)}.",
        )
    return wanted
