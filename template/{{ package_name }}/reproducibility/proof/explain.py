"""Proof of causes: a run is replayed with one recorded difference taken back at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..common.errors import ProjectError
from ..conf import INPUTS
from ..record import fingerprint
from ..record.schema import Record
from . import replay
from .compare import Comparison, compare_stages
from .replay import Recipe

#: Differences that a replay can take back.
PROVABLE = ("data", "inputs", "seed", "conf", "code", "packages", "threads", "processes", "cpu")


@dataclass(frozen=True)
class Proof:
    """What the replays showed.

    Parameters
    ----------
    causes : dict of str to list of str
        For each difference that was taken back, the stages that it changes; empty where it changes none.
    untried : dict of str to str
        Differences that could not be taken back, and why.
    together : bool or None
        Whether taking all causes back gives the first run to the last bit; None where nothing was proven.
    repeats : bool
        Whether the second run repeats itself at all. If not, nothing was tried.
    """

    causes: dict[str, list[str]]
    untried: dict[str, str]
    together: bool | None
    repeats: bool


def explain(comparison: Comparison, scratch: Path, say: Callable[[str], object]) -> Proof:
    """Replay the second of two runs with one part of the first at a time, and tell by `say` what is being tried.

    A difference is a cause of a stage if taking it back alone changes the digest of that stage. So two causes of one
    stage are both found, though neither alone gives the first run's result.
    """
    a, b = comparison.a, comparison.b
    plain = Recipe.of(b, fingerprint.dispatch(b.content["environment"]))
    say("the second run, as it was")
    control = replay.execute(plain, scratch / "control")
    say("the second run once more")
    if replay.execute(plain, scratch / "again").stages != control.stages:
        return Proof({}, {}, None, repeats=False)
    causes: dict[str, list[str]] = {}
    untried = {}
    everything, last = plain, control
    for difference in comparison.differences:
        cause = difference.cause
        if cause not in PROVABLE or (cause == "cpu" and fingerprint.lacking(a.content["environment"])):
            untried[cause] = "no replay on this machine can take it back"
            continue
        say(f"with the first run's {cause}: {'; '.join(difference.details[:3])}")
        try:
            changed = replay.execute(take_back(plain, cause, a), scratch / cause)
        except ProjectError as error:
            untried[cause] = error.cause
            continue
        causes[cause] = [stage.name for stage in compare_stages(control, changed) if not stage.equal]
        if causes[cause]:
            everything, last = take_back(everything, cause, a), changed
    proven = [cause for cause, stages in causes.items() if stages]
    if len(proven) > 1:
        say(f"with all of them taken back: {', '.join(proven)}")
        last = replay.execute(everything, scratch / "together")
    return Proof(causes, untried, last.stages == a.stages if proven else None, repeats=True)


def take_back(recipe: Recipe, cause: str, a: Record) -> Recipe:
    """Change one part of a recipe, of `PROVABLE`, to what it was in a run."""
    match cause:
        case "code":
            return replace(recipe, code=a)
        case "data":
            return replace(recipe, data=a)
        case "inputs":
            return replace(recipe, given=a, conf=_with(recipe.conf, INPUTS, a.conf.get(INPUTS)))
        case "packages":
            return replace(recipe, lock=a)
        case "cpu":
            return replace(recipe, variables=fingerprint.dispatch(a.content["environment"]))
        case "seed" | "threads":
            return replace(recipe, conf={**recipe.conf, cause: a.conf[cause]})
        case "processes":
            return replace(recipe, conf={**recipe.conf, cause: a.conf.get(cause, 1)})
        case _:
            apart = ("seed", "threads", "processes", INPUTS)
            taken = {key: value for key, value in a.conf.items() if key not in apart}
            return replace(recipe, conf=taken | {key: recipe.conf[key] for key in apart if key in recipe.conf})


def _with(conf: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {name: value for name, value in {**conf, key: value}.items() if value is not None}
