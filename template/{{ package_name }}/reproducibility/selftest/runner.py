"""Jobs of the self-test, each done in a fresh process that another shell starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..common.project import PACKAGE, ROOT
from ..framework import FRAMEWORK
from ..randomness import launch
from .job import RESULT, SEED, Job

THREADS, HASH_SEED = "the number of threads", "PYTHONHASHSEED"
#: Seconds that any process may take at least, however little time is left.
PATIENCE = 120.0


class Failure(Exception):
    """A training of the self-test ended with an error: its last line."""


class TooLong(Failure):
    """It took longer than it may."""


class Runner:
    """Does one job after the other.

    Parameters
    ----------
    folder : Path
        For what they leave behind.
    minutes : float
        How long all may take.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder
        self.began = time.monotonic()
        self.ends = self.began + 60 * minutes
        self.longest = 0.0
        #: What can be left out, each with its environment variables.
        self.switches = {
            HASH_SEED: [HASH_SEED],
            THREADS: [*launch.THREAD_VARIABLES, *FRAMEWORK.thread_variables],
            **{name: [name] for name in FRAMEWORK.launch_variables},
        }

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.ends - time.monotonic()

    def run(
        self, job: Job, shell: int = 0, timeout: float | None = None, seed: int = SEED, threads: int = 1
    ) -> dict[str, Any]:
        """Do one job in a fresh process.

        Parameters
        ----------
        job : Job
            What is to be done.
        shell : int
            Which of the shells it is started from, 0 to 2.
        timeout : float, optional
            Seconds after which it is ended; by default what is left of all, and `PATIENCE` at least.
        seed, threads : int
            Of the launch environment.

        Returns
        -------
        dict
            Its result.

        Raises
        ------
        Failure
            If it ended with an error; `TooLong` if it took longer than it may.
        """
        wanted = launch.variables(seed, threads)
        for name in job.without:
            for variable in self.switches.get(name, ()):
                wanted.pop(variable, None)
        variables = {
            **launch.child(*FRAMEWORK.launch_variables, "PYTHONHASHSEED"),
            **_shell(shell),
            **wanted,
            # For what a training logs by itself.
            "MLFLOW_TRACKING_URI": (self.folder / "mlruns").as_uri(),
            "MLFLOW_ALLOW_FILE_STORE": "true",
        }
        if job.device == "cpu":
            variables["CUDA_VISIBLE_DEVICES"] = ""  # a training asks the framework where it computes
        job = replace(job, threads=0 if THREADS in job.without else threads)
        outcome = self.folder / RESULT
        outcome.unlink(missing_ok=True)
        began = time.monotonic()
        left = max(self.left, PATIENCE) if timeout is None else timeout
        try:
            process = subprocess.run(
                [sys.executable, "-m", f"{PACKAGE}.reproducibility.selftest.trial", job.dump(), str(self.folder)],
                cwd=ROOT,
                env=variables,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=left,
                text=True,
                errors="replace",
            )
        except subprocess.TimeoutExpired as error:
            raise TooLong(f"it took longer than {left:.0f} s") from error
        self.longest = max(self.longest, time.monotonic() - began)
        if process.returncode or not outcome.exists():
            raise Failure(_last_line(process.stderr) or f"it ended with exit code {process.returncode}")
        result: dict[str, Any] = json.loads(outcome.read_text("utf-8"))
        return result


def _shell(number: int) -> dict[str, str]:
    """Give what differs from shell to shell and must not matter: hash seed, threads, time zone."""
    threads = (1, 2, max(4, os.cpu_count() or 1))[number]
    return {
        HASH_SEED: str(number + 1),
        **dict.fromkeys((*launch.THREAD_VARIABLES, *FRAMEWORK.thread_variables), str(threads)),
        "TZ": ("UTC", "Asia/Kathmandu", "America/St_Johns")[number],
    }


def _last_line(text: str) -> str:
    """Find what an error says in what a process printed."""
    text = text.replace(str(ROOT), ".").replace(str(Path.home()), "~")  # whoever reads it need not know whose it is
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return lines[-1].strip()[:300] if lines else ""
