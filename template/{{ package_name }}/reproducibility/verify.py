"""Verify: the training twice, with all that must not matter changed between the two."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from . import launch, records, reproduce, shell, tracking
from .compare import EXIT_CODES
from .project import PACKAGE, ROOT, ProjectError

#: Two shells in which one training must give one result. The folder, the process and the umask differ besides.
SHELLS = (
    {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"},
)
UMASK = 0o077


def verify(config: Path, overrides: tuple[str, ...]) -> int:
    """Train here, then once more from the record alone, elsewhere and in another shell, and compare.

    Parameters
    ----------
    config : Path
        The conf file.
    overrides : tuple of str
        `key=value` settings for both runs.

    Returns
    -------
    int
        0 if both are the same to the last bit, 1 if they are not.

    Raises
    ------
    ProjectError
        If one of the trainings fails.
    """
    settings = [part for override in overrides for part in ("--set", override)]
    command = [sys.executable, "-m", PACKAGE, "train", "--config", str(config), *settings]
    kept = {name: value for name, value in shell.child().items() if name not in launch.THREAD_VARIABLES}
    done = subprocess.run(command, cwd=ROOT, env=kept | SHELLS[0], stdout=subprocess.PIPE, text=True)
    run_id = re.search(r"^run +(\w+)$", done.stdout, re.MULTILINE)
    if done.returncode or run_id is None:
        raise ProjectError("the training failed; its own message stands above.", "Mend that, then verify again.")
    tracking.connect()
    os.environ.pop("MLFLOW_RUN_ID", None)  # inside `mlflow run` the first training was that run
    with reproduce.scratch_folder() as scratch:
        record = records.download(records.get_run(run_id[1]), scratch / "original")
        comparison = reproduce.prove(record, scratch, SHELLS[1], UMASK)
    return EXIT_CODES[comparison.verdict]
