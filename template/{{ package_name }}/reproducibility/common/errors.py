"""The error that a person can act on."""

from __future__ import annotations

import sys

from . import terminal
from .exit_codes import FAILED


class ProjectError(Exception):
    """An error that a person can act on: printed once, at the command line, without a traceback.

    Parameters
    ----------
    cause : str
        What is wrong, with what was expected and what was found.
    fix : str
        What to do about it: commands, one a line.
    exit_code : int, default 3
        One of `exit_codes`; 3 is `FAILED`.
    """

    def __init__(self, cause: str, fix: str, exit_code: int = FAILED) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = fix
        self.exit_code = exit_code

    def show(self) -> int:
        """Print cause and fix to standard error, and give the exit code back."""
        indented = self.fix.replace("\n", "\n     ")
        fix = f"\n{terminal.word('fix', sys.stderr)}: {indented}" if indented else ""
        print(f"{terminal.word('error', sys.stderr)}: {self.cause}{fix}", file=sys.stderr)
        return self.exit_code


def wrapped(error: BaseException) -> ProjectError | None:
    """Find the error of ours that MLflow wrapped into one of its own, as it does with those of a store's connection."""
    cause: BaseException | None = error
    while cause is not None and type(cause).__module__.startswith("mlflow"):
        cause = cause.__cause__
    return cause if isinstance(cause, ProjectError) else None
