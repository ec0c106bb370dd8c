"""What a project tells of itself: its training, and the other steps of which it is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.project import MAIN
from .run_object import Train

if TYPE_CHECKING:
    from pydantic import BaseModel

#: The settings class of a step and what it does; or a function that imports and gives both, only when the step runs,
#: so that an edit in the code of one step is none in that of another.
Step = Union[tuple[type, Train], Callable[[], tuple[type, Train]]]  # noqa: UP007 - read by doctor in any Python


@dataclass(frozen=True)
class Experiment:
    """What a project is made of.

    Parameters
    ----------
    settings : type of pydantic.BaseModel, optional
        The settings of the training.
    train : callable, optional
        The training, `train(settings, run) -> Result`.
    steps : Mapping of str to Step, optional
        The other steps by name; a step's conf is `confs/NAME.yaml`. The training may stand here too, as `train`.
    """

    settings: type | None = None
    train: Train | None = None
    steps: Mapping[str, Step] = field(default_factory=dict)

    def all_steps(self) -> dict[str, Step]:
        """Give every step by name.

        Raises
        ------
        ProjectError
            If a name could not be that of a conf file, or the training stands there twice.
        """
        steps = dict(self.steps)
        if self.settings is not None and self.train is not None:
            if MAIN in steps:
                raise ProjectError(
                    f"the step {MAIN!r} stands twice in the Experiment of __main__.py.",
                    "Give it as settings and train, or under `steps`, not both.",
                )
            steps[MAIN] = (self.settings, self.train)
        if wrong := [name for name in steps if not re.fullmatch(r"[A-Za-z][\w-]*", name)]:
            raise ProjectError(
                f"{wrong[0]!r} cannot be the name of a step.", "Letters, digits, - and _, with a letter first."
            )
        return steps


#: What `__main__.py` hands to the harness: gives the settings class and the training of a project of one step, or an
#: `Experiment` of several; called only by commands that need it.
Definition = Callable[[], "Experiment | tuple[type, Train]"]


def steps_of(definition: Definition) -> dict[str, Step]:
    """Give every step of a project by name."""
    found = definition()
    return (found if isinstance(found, Experiment) else Experiment(*found)).all_steps()


def load(definition: Definition, name: str) -> tuple[type[BaseModel], Train]:
    """Import the code of a step, and give its settings class and what it does.

    Raises
    ------
    ProjectError
        With exit code 64, if the project has no such step.
    """
    steps = steps_of(definition)
    if name not in steps:
        raise ProjectError(
            f"this project has no step {name!r}; it has {', '.join(steps)}.",
            "__main__.py names the steps: Experiment(…, steps={…})",
            USAGE,
        )
    step = steps[name]
    return step() if callable(step) else step
