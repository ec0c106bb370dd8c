"""Verify: the training twice, with all that must not matter changed between the two."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from ..common import shell
from ..common.errors import ProjectError
from ..common.exit_codes import EXIT_CODES
from ..common.project import MAIN, PACKAGE, ROOT
from ..datasets import remembered
from ..randomness import launch
from ..record import lookup, reader
from ..store import joining, tracking
from ..training import just_run
from ..training.in_container import Container
from . import replay_image, reproduce

#: Two shells in which one training must give one result. The folder, the process and the umask differ besides.
SHELLS = (
    {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1", launch.MEANT: "PYTHONHASHSEED", remembered.ANEW: "1"},
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", launch.MEANT: "PYTHONHASHSEED"},
)
UMASK = 0o077


def verify(config: Path, overrides: tuple[str, ...], container: bool = False, step: str = MAIN) -> int:
    """Train here, then once more from the record alone, elsewhere and in another shell; give the verdict's exit code.

    Parameters
    ----------
    config : Path
        The conf file.
    overrides : tuple of str
        `key=value` settings for this run only.
    container : bool, default False
        Whether both go on in containers.
    step : str
        The step of the project; by default the training.

    Raises
    ------
    ProjectError
        If one of the trainings fails.
    """
    with reproduce.scratch_folder() as scratch:
        run_id = _in_container(config, overrides, step) if container else _here(config, overrides, step, scratch)
        record = reader.download(lookup.get_run(run_id), scratch / "original")
        containers = replay_image.containers(record, container)
        comparison = reproduce.prove(record, scratch, SHELLS[1], umask=UMASK, containers=containers)
    return EXIT_CODES[comparison.verdict]


def _in_container(config: Path, overrides: tuple[str, ...], step: str) -> str:
    """Do the first training in a container, and give its run."""
    parameters = {"config": str(config), "set": shlex.join(overrides)}
    entry_point = "main" if step == MAIN else "step"
    parameters |= {"name": step} if step != MAIN else {}
    return just_run.run(entry_point, parameters, Container(sys.stderr), **SHELLS[0])  # what it prints is no verdict


def _here(config: Path, overrides: tuple[str, ...], step: str, scratch: Path) -> str:
    """Do the first training here, and give its run."""
    tracking.connect()
    invitation = joining.invited()  # inside `mlflow run` the first training is that run
    vouched = {joining.VOUCHED: invitation.info.run_id} if invitation else {}
    settings = [part for override in overrides for part in ("--set", override)]
    variables = launch.child() | SHELLS[0] | vouched
    told = scratch / "run"
    does = ["train"] if step == MAIN else ["step", step]
    command = [sys.executable, "-m", PACKAGE, *does, "--config", str(config), *settings, "--id-file", str(told)]
    if shell.run(command, ROOT, variables, sys.stderr):
        raise ProjectError("the training failed; its own message stands above.", "Mend that, then verify again.")
    joining.decline()
    return told.read_text("utf-8")
