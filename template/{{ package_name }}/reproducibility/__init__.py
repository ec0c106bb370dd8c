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
from .training.run_object import Experiment, Run, Train

imports.watch()  # before anything of the project's own is imported

__all__ = ["Experiment", "ModelAdapter", "ProjectError", "Result", "Run", "Train", "main"]


def main(experiment: Experiment) -> None:
    """Run the project's command line, in an environment that is what the lock says.

    Parameters
    ----------
    experiment : callable
        Gives the settings class and `train`; called only by commands that train.
    """

    def body() -> int:
        shell.enter()
        # Every file is looked at before a training, once: not again in the process that `launch` has started again.
        check.ensure(files=sys.argv[1:2] == ["train"] and "launch" not in restart.REASONS)
        from .cli.main import run_command  # only now: in a half-built environment its imports would fail

        return run_command(experiment)

    command_line(body)
