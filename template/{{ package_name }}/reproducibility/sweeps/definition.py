"""What a sweep is: confs/sweep.yaml, held to the project's settings before anything runs."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .. import conf
from ..common.errors import ProjectError

EXAMPLE = """\
space: # settings by their names in the conf; each trial takes a value of each
  model.learning_rate: {type: float, low: 0.001, high: 0.1, log: true}
  model.max_depth: {type: int, low: 2, high: 12}
  model.kind: {type: categorical, choices: [a, b]}
sampler: tpe # or grid, random, cmaes
trials: 40
batch: 8 # trials that are planned together, from the results of all batches before
metric: accuracy
direction: maximize
seed: 1
keep: best # trained once more for its model and pictures; or all
"""


def _no_truth(value: Any) -> Any:
    """Refuse yes and no, which Python takes for numbers."""
    if isinstance(value, bool):
        raise ValueError("it must be a number")
    return value


Number = Annotated[int | float, BeforeValidator(_no_truth)]


class _Part(BaseModel):
    """A part of the conf in which a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Dimension(_Part):
    """The values that a setting may have."""

    type: Literal["int", "float", "categorical"] = Field(description="What sort of values.")
    low: Number | None = Field(None, description="The least; of numbers alone.")
    high: Number | None = Field(None, description="The greatest.")
    step: Number | None = Field(None, gt=0, description="From one value to the next.")
    log: bool = Field(False, description="Whether small values are tried as often as large ones, by their logarithm.")
    choices: list[Any] | None = Field(None, min_length=1, description="The values; of a categorical setting alone.")

    @model_validator(mode="after")
    def _is_whole(self) -> Dimension:
        if self.type == "categorical":
            if self.choices is None or self.low is not None or self.high is not None or self.step is not None:
                raise ValueError("a categorical setting has `choices`, and no bounds")
            return self
        if self.choices is not None or self.low is None or self.high is None:
            raise ValueError("a number has `low` and `high`, and no `choices`")
        bounds = [value for value in (self.low, self.high, self.step) if value is not None]
        if self.type == "int" and any(value != int(value) for value in bounds):
            raise ValueError("the bounds of an `int` are whole numbers")
        if self.low > self.high:
            raise ValueError("`low` is above `high`")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("with `log`, `low` is above zero and there is no `step`")
        return self

    def ends(self) -> list[Any]:
        """Give the values that say most about whether all are allowed: every choice, or both bounds."""
        return self.choices if self.choices is not None else [self._typed(self.low), self._typed(self.high)]

    def grid(self) -> list[Any]:
        """Give every value in its order; none where there is no end of them."""
        if self.choices is not None:
            return self.choices
        if self.low is None or self.high is None or self.log or (self.type == "float" and self.step is None):
            return []
        step = self.step or 1
        # A sum of steps would gather rounding errors.
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [self._typed(self.low + number * step) for number in range(count)]

    def _typed(self, value: Any) -> Any:
        return int(value) if self.type == "int" else float(value)


class Stop(_Part):
    """When a sweep ends before its last trial: looked at after each batch, so that it depends on nothing else."""

    patience: int | None = Field(default=None, ge=1, description="Batches without a better value.")
    value: Number | None = Field(default=None, description="A value that is good enough.")


class Sweep(_Part):
    """A sweep as its conf says it."""

    space: dict[str, Dimension] = Field(description="The settings that are tried, by their names in the conf.")
    sampler: Literal["grid", "random", "tpe", "cmaes"] = Field(
        "tpe", description="Which of Optuna's chooses the values."
    )
    trials: int | None = Field(None, ge=1, le=1_000_000, description="How many, at most; a grid may do without.")
    batch: int = Field(8, ge=1, description="Trials that are planned together.")
    seeds: int = Field(1, ge=1, le=10_000, description="Runs of each trial, which differ in their seed alone.")
    folds: int = Field(1, ge=1, le=1_000, description="Runs of each trial, each of which holds out another part.")
    metric: str | None = Field(None, description="Left out only by a sweep of seeds or folds alone.")
    direction: Literal["minimize", "maximize"] | None = Field(
        None, description="Which values of the metric are better."
    )
    stop: Stop = Field(Stop(), description="When it ends before its last trial.")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Of the sampler; the trainings have that of the conf.")
    keep: Literal["best", "all"] = Field("best", description="Whose models and pictures are stored.")

    @model_validator(mode="after")
    def _has_trials(self) -> Sweep:
        if self.sampler == "grid":
            if endless := [path for path, dimension in self.space.items() if not dimension.grid()]:
                raise ValueError(f"a grid needs `choices` or a `step`, which {endless[0]} has not")
        elif self.trials is None:
            raise ValueError("`trials` is missing: how many?")
        if self.space and not (self.metric and self.direction):
            raise ValueError("`metric` and `direction` (minimize, maximize) say what the best trial is")
        if "seed" in self.space:
            raise ValueError("`seed` is no dimension: `seeds: 5` runs each trial with five")
        if self.seeds > 1 and self.folds > 1:
            raise ValueError("a trial has several `seeds` or several `folds`, not both")
        return self

    @property
    def count(self) -> int:
        """How many trials there are, unless it stops before."""
        if self.sampler != "grid":
            return self.trials or 0
        whole = math.prod(len(dimension.grid()) for dimension in self.space.values())
        return min(whole, self.trials or whole)

    def batches(self) -> Iterator[range]:
        """Give the numbers of the trials, batch by batch."""
        for start in range(0, self.count, self.batch):
            yield range(start, min(start + self.batch, self.count))

    def point(self, number: int) -> dict[str, Any]:
        """Give a point of the grid by its number; the last setting changes fastest."""
        point = {}
        for path, dimension in reversed(self.space.items()):
            values = dimension.grid()
            number, place = divmod(number, len(values))
            point[path] = values[place]
        return {path: point[path] for path in self.space}

    def is_better(self, value: float, than: float) -> bool:
        """Compare two values of the metric."""
        return value > than if self.direction == "maximize" else value < than

    @property
    def repeats(self) -> int:
        """How many runs each trial has."""
        return max(self.seeds, self.folds)

    @property
    def repeated(self) -> str:
        """What they differ in: `seeds` or `folds`."""
        return "folds" if self.folds > 1 else "seeds"

    def of_repeat(self, base: dict[str, Any], repeat: int) -> dict[str, int]:
        """Give the settings of a run of a trial alone: its fold; or its seed, the conf's own and those after it."""
        if self.folds > 1:
            return {"folds": self.folds, "fold": repeat + 1}
        return {"seed": (int(base["seed"]) + repeat) % 2**32}


def load(path: Path) -> dict[str, Any]:
    """Read the conf of a sweep, and hold it to what a sweep is.

    Raises
    ------
    ProjectError
        If there is none, with an example; or if it is not as it should be.
    """
    if not path.exists():
        raise ProjectError(f"there is no {path}, which says what is searched.", f"Write it, such as:\n{EXAMPLE}")
    content = conf.load(path)
    parse(content, str(path))
    return content


def parse(content: dict[str, Any], name: str) -> Sweep:
    """Turn what such a file says into a sweep."""
    try:
        return Sweep.model_validate(content)
    except ValidationError as error:
        raise ProjectError(
            f"{name} is not as a sweep is written:\n{conf.problems(error)}",
            "Correct that; an example:\n" + EXAMPLE,
        ) from error


def require_fitting(sweep: Sweep, base: dict[str, Any], schema: type[BaseModel]) -> None:
    """Stop where a value of the space is none that the project's settings allow, before anything runs.

    Parameters
    ----------
    sweep : Sweep
        Of which every bound and choice is tried.
    base : dict
        The conf that the trials change.
    schema : type of pydantic.BaseModel
        The project's class of settings.

    Raises
    ------
    ProjectError
        Naming the setting and the value.
    """
    known = conf.flatten(conf.validate(base, schema).model_dump(mode="json"), "conf")
    if missing := [name for name in sweep.of_repeat(base, 0) if f"conf.{name}" not in known]:
        raise ProjectError(
            f"the settings of this step have no {missing[0]!r}, of which `{sweep.repeated}` would be several.",
            "Give settings.py one, as newer projects of tables have it: just template-update",
        )
    for path, dimension in sweep.space.items():
        if f"conf.{path}" not in known:
            near = difflib.get_close_matches(path, [name.removeprefix("conf.") for name in known], 1)
            hint = f"Did you mean {near[0]}?" if near else "The conf shows the settings: section.key"
            raise ProjectError(f"the space names {path}, which is no setting of the conf.", hint)
        for value in dimension.ends():
            try:
                conf.validate(settings(base, {path: value}), schema)
            except ProjectError as error:
                raise ProjectError(f"the space lets {path} be {value!r}, but {error.cause}", error.fix) from error


def settings(base: dict[str, Any], point: Mapping[str, Any], more: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Write down the conf of a trial.

    Parameters
    ----------
    base : dict
        The conf that the trials change.
    point : Mapping of str to Any
        The values of a trial by their paths.
    more : Mapping of str to int, optional
        Settings of one run of it; see `Sweep.of_repeat`.
    """
    own = copy.deepcopy(base)
    for path, value in {**point, **(more or {})}.items():
        conf.put(own, path, value)
    return own
