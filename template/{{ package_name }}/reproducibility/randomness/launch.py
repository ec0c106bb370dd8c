"""The launch environment: hash seed, threads and what else must be set before the interpreter that trains starts."""

from __future__ import annotations

import os
import reprlib
import sys

from ..common import restart, shell, terminal
from ..common.errors import ProjectError
from ..common.project import PACKAGE
from ..environment import installed
from ..framework import FRAMEWORK

#: Every library that reads its number of threads once, when it is loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
#: Names a variable that was set for a training on purpose, to show that it does not matter: no notice says so.
MEANT = "REPRO_MEANT"


def variables(seed: int, threads: int) -> dict[str, str]:
    """Name the environment variables of a run.

    Parameters
    ----------
    seed : int
        0 to 2**32 - 1. It is the hash seed too; 0 switches the randomization of hashes off.
    threads : int
        Threads of the numeric libraries, 1 or more.

    Raises
    ------
    ProjectError
        If `seed` or `threads` is not such a number.
    """
    _require("seed", seed, 0, 2**32 - 1)
    _require("threads", threads, 1, 1024)
    return {
        "PYTHONHASHSEED": str(seed),
        **dict.fromkeys((*THREAD_VARIABLES, *FRAMEWORK.thread_variables), str(threads)),
        **FRAMEWORK.launch_variables,
    }


def child(*foreign: str) -> dict[str, str]:
    """Give the environment variables for a training that is started here, without numbers of threads.

    Names with a foreign beginning are left out too.
    """
    own = {*THREAD_VARIABLES, *FRAMEWORK.thread_variables}
    return {name: value for name, value in shell.child(*foreign).items() if name not in own}


def ensure(seed: int, threads: int) -> None:
    """Start this command again with the launch environment of a run, unless it is in place.

    The conf wins over the shell, with a notice. Python reads the hash seed, and the numeric libraries
    their threads, only while they start: setting them in a running process comes too late.
    """
    wanted = variables(seed, threads)
    differing = {name: value for name, value in wanted.items() if os.environ.get(name) != value}
    restarted = "launch" in restart.REASONS
    if not differing and not sys.flags.ignore_environment:
        return
    if restarted or sys.flags.ignore_environment or sys.gettrace() is not None or not is_command():
        why = "an interpreter that ignores the environment (-E, -I), runs a notebook or is debugged"
        lost = ", ".join(f"{name}={value}" for name, value in differing.items())
        terminal.notice(f"the launch environment cannot be set in {why}; this run may not repeat: {lost}")
        return
    for name, value in differing.items():
        if name in os.environ and os.environ.get(MEANT) != name:
            terminal.notice(f"the conf sets {name}={value}; the shell's {os.environ[name]!r} is not used.")
    os.environ.update(wanted)
    installed.remember()
    restart.restart("launch")


def is_command() -> bool:
    """Tell whether this process is `python -m` the package, and not a notebook or script that imported it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name == f"{PACKAGE}.__main__"


def recorded(seed: int, threads: int) -> dict[str, str]:
    """Tell what of the launch environment is in place: the values, "unset" or "ignored" where there is none."""
    if sys.flags.ignore_environment:
        return dict.fromkeys(variables(seed, threads), "ignored")
    return {name: os.environ.get(name, "unset") for name in variables(seed, threads)}


def _require(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ProjectError(
            f"`{name}` is {reprlib.repr(value)}; it must be a whole number from {low} to {high}.",
            f"Set `{name}:` in the conf, or `--set {name}=…` for one run.",
        )
