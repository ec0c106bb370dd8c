"""The harness: what makes every run of this project repeatable. Template-owned; your code is one folder up."""

from __future__ import annotations

import sys

from .adapter import ModelAdapter
from .common import restart, shell
from .common.command_line import command_line
from .common.errors import ProjectError
from .environment import check
from .modeling.result import Result
from .source import imports
from .training.run_object import Run, Train
from .training.steps import Definition, Experiment, Step

imports.watch()  # before anything of the project's own is imported

__all__ = ["Experiment", "ModelAdapter", "ProjectError", "Result", "Run", "Step", "Train", "main"]


def main(experiment: Definition) -> None:
    """Run the project's command line, in an environment that is what the lock says.

    Parameters
    ----------
    experiment : callable
        Gives the settings class and `train`, or an `Experiment` of several steps; called only by commands that need it.
    """

    def body() -> int:
        shell.enter()
        # Every file is looked at before a training, once: not again in the process that `launch` has started again.
        trains = sys.argv[1:2] in (["train"], ["step"], ["sweep"], ["seeds"])
        check.ensure(files=trains and "launch" not in restart.REASONS)
        # Only now: in a half-built environment these imports would fail.
        from .cli.main import run_command
        from .framework import FRAMEWORK

        FRAMEWORK.quieten()
        return run_command(experiment)

    command_line(body)
