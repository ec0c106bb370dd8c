"""Verify: the training twice, with all that must not matter changed between the two."""

from __future__ import annotations

import sys
from pathlib import Path

from ..common import shell
from ..common.errors import ProjectError
from ..common.exit_codes import EXIT_CODES
from ..common.project import PACKAGE, ROOT
from ..randomness import launch
from ..record import lookup, reader
from ..store import joining, tracking
from . import reproduce

#: Two shells in which one training must give one result. The folder, the process and the umask differ besides.
SHELLS = (
    {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"},
)
UMASK = 0o077


def verify(config: Path, overrides: tuple[str, ...]) -> int:
    """Train here, then once more from the record alone, elsewhere and in another shell; give the verdict's exit code.

    Raises
    ------
    ProjectError
        If one of the trainings fails.
    """
    tracking.connect()
    invitation = joining.invited()  # inside `mlflow run` the first training is that run
    vouched = {joining.VOUCHED: invitation.info.run_id} if invitation else {}
    settings = [part for override in overrides for part in ("--set", override)]
    variables = launch.child() | SHELLS[0] | vouched
    with reproduce.scratch_folder() as scratch:
        told = scratch / "run"
        command = [sys.executable, "-m", PACKAGE, "train", "--config", str(config), *settings, "--id-file", str(told)]
        if shell.run(command, ROOT, variables, sys.stderr):  # what it prints is not the verdict
            raise ProjectError("the training failed; its own message stands above.", "Mend that, then verify again.")
        joining.decline()
        record = reader.download(lookup.get_run(told.read_text("utf-8")), scratch / "original")
        comparison = reproduce.prove(record, scratch, SHELLS[1], UMASK)
    return EXIT_CODES[comparison.verdict]
