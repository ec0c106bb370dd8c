"""The plan of the self-test: which trainings are made, in how much time, and what their results say together."""

from __future__ import annotations

import datetime
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..common.errors import ProjectError
from ..common.project import PACKAGE, ROOT
from ..common.scratch import temporary_folder
from ..framework import FRAMEWORK
from ..randomness import launch
from .job import PREDICTIONS, RESULT, SEED, Job, seed_switch

SCHEMA = 1
THREADS, HASH_SEED = "the number of threads", "PYTHONHASHSEED"
ALL = "all of these but the seeds"
MATTERS, OTHER_BITS, NO_EFFECT = "matters here", "other bits, which repeat", "no effect seen here"
NEEDED, NOT_TRIED = "refuses without it", "not tried: no time was left"
#: Steps of the stress workload: a few hundred, fewer where they would not fit into the time.
STEPS = range(20, 401)
#: Trainings that must be equal, each from another shell.
TIMES = 3
#: Seconds that any process may take at least, however little time is left.
PATIENCE = 120.0
#: How far two devices may part in a plain training, whose steps are few and small: relative and absolute, and how many
#: predictions must be that near. Where a split was a tie, a tree takes another.
TOLERANCE, AGREEING = 1e-2, 0.99
PLAIN_STEPS = 20


class Failure(Exception):
    """A training of the self-test ended with an error: its last line."""


class TooLong(Failure):
    """It took longer than it may."""


class SelfTest:
    """The trainings of one self-test, one after the other.

    Parameters
    ----------
    device : str
        "cpu" or "cuda".
    minutes : float
        How long all may take; what does not fit is named.
    tell : callable
        Takes what is done next and how much of the time is gone, 0 to 1, for a person who waits.
    """

    def __init__(self, device: str, minutes: float, tell: Callable[[str, float], object]) -> None:
        self.device = device
        self.began = time.monotonic()
        self.ends = self.began + 60 * minutes
        self.tell = tell
        self.switches = {
            HASH_SEED: [HASH_SEED],
            THREADS: [*launch.THREAD_VARIABLES, *FRAMEWORK.thread_variables],
            **{name: [name] for name in FRAMEWORK.launch_variables},
        }
        self.generators: list[str] = []
        self.longest = 0.0

    def run(self, folder: Path, own: bool) -> dict[str, Any]:
        """Do all trainings.

        Parameters
        ----------
        folder : Path
            For what they leave behind.
        own : bool
            Whether there is a project, whose own training is tried beside the stress workload.

        Returns
        -------
        dict
            The outcome, as it is kept; `repeats` is the answer.
        """
        self.folder = folder
        trainings = [self.project()] if own else []
        job = replace(Job("stress", self.device), steps=self.steps())
        first, stress = self.stress(job)
        trainings.append(stress)
        content = {
            "schema": SCHEMA,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "framework": type(FRAMEWORK).__name__,
            "device": self.device,
            "repeats": False,
            "machine": first["machine"],
            "steps": job.steps,
            "trainings": trainings,
            "resumed": self.resumed(job, first),
            "operations": self.operations() if first["operations"] else {},
            "devices": self.devices(),
            "switches": {name: self.without(name, job, first) for name in self.left_out()},
            "seconds": round(time.monotonic() - self.began),
        }
        content["repeats"] = all(training["equal"] for training in (*trainings, content["resumed"]))
        return content

    def say(self, what: str) -> None:
        """Tell what is done next."""
        self.tell(what, min(1.0, (time.monotonic() - self.began) / (self.ends - self.began)))

    def left_out(self) -> list[str]:
        """Name what is left out in turn, what matters most often first: the time may not suffice for all."""
        own = [name for name, variables in self.switches.items() if not variables]
        launched = [name for name in self.switches if name not in (*own, HASH_SEED, THREADS)]
        return [*own, HASH_SEED, *map(seed_switch, self.generators), THREADS, ALL, *launched]

    def steps(self) -> int:
        """Choose how many steps the workload takes, so that all trainings fit into the time that is left."""
        self.say("how fast is this machine?")
        first = self.trial(Job("stress", self.device, STEPS[0]))  # the first start of a library takes longest
        # Asked there: a framework that is imported here would keep a part of the GPU.
        self.switches |= {name: [] for name in first["switches"]}
        self.generators = first["generators"]
        began = time.monotonic()
        found = self.trial(Job("stress", self.device, STEPS[0]))
        start = time.monotonic() - began - STEPS[0] * found["step"]
        # Two of each; resumed; operations and devices; with all threads at once, those without THREADS take longer.
        trainings = TIMES + 2 * len(self.left_out()) + 2 + 3 + 6
        left = 0.8 * (self.ends - time.monotonic()) / trainings - start
        fits = left / max(found["step"], 1e-6)
        return int(min(max(fits, STEPS[0]), STEPS[-1]) // 10 * 10)

    def project(self) -> dict[str, Any]:
        """Train what the project trains, where it takes no more than a third of the time."""
        name = "the project's own training"
        third = (self.ends - time.monotonic()) / 3
        from .. import conf

        settings = conf.load(ROOT / "confs" / "train.yaml")
        if FRAMEWORK.processes(settings) > 1:
            return _untried(name, "it takes several processes: just verify")
        found: list[dict[str, Any]] = []
        began = time.monotonic()
        for number in range(TIMES):
            self.say(f"{name}, {number + 1} of {TIMES}")
            try:
                job = Job("project", self.device)
                found.append(self.trial(job, number, max(third, 10.0), settings["seed"], settings["threads"]))
            except TooLong:
                return _untried(name, f"takes longer than {third:.0f} s: just verify")
            if (len(found) + 1) / len(found) * (time.monotonic() - began) > third and len(found) > 1:
                break
        return {"name": name, **_equal([result["digests"] for result in found])}

    def stress(self, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train the workload from several shells; give the first result, and whether all are equal."""
        found = []
        for number in range(TIMES):
            self.say(f"the stress workload, {number + 1} of {TIMES}")
            found.append(self.trial(job, number))
        equal = _equal([result["digests"] for result in found])
        if not equal["equal"]:
            equal["parts"] += f"; {_parting([result['losses'] for result in found])}"
        return found[0], {"name": "the stress workload", **equal}

    def resumed(self, job: Job, first: dict[str, Any]) -> dict[str, Any]:
        """Kill a training in the middle, and let another go on from its checkpoint."""
        name = "killed in the middle, and resumed"
        self.say(name)
        file = self.folder / "checkpoint"
        dying = replace(job, checkpoint=str(file), dies_at=job.steps // 2 + 5)
        try:
            self.trial(dying)
        except Failure:
            if not file.exists():
                return _untried(name, "this framework's workload keeps no checkpoints")
        again = self.trial(replace(job, checkpoint=str(file)), 1)
        return {"name": name, **_equal([first["digests"], again["digests"]])}

    def operations(self) -> dict[str, str]:
        """Try the operations of the framework one by one."""
        self.say("operations, one by one")
        try:
            found: dict[str, str] = self.trial(Job("operations", self.device))["operations"]
        except Failure as error:
            return {"all": f"fails: {error}"}
        return found

    def devices(self) -> dict[str, Any] | None:
        """Train plainly on the GPU and on the CPU, and tell how far they are apart; None without a GPU."""
        if self.device == "cpu":
            return None
        import numpy as np

        self.say("the GPU against the CPU")
        found: list[Any] = []
        losses: list[list[float]] = []
        for device in (self.device, "cpu"):
            losses.append(self.trial(Job("stress", device, PLAIN_STEPS, plain=True))["losses"])
            found.append(np.load(self.folder / PREDICTIONS))
        apart = float(np.abs(found[0] - found[1]).max())
        agree = float(np.isclose(found[0], found[1], rtol=TOLERANCE, atol=TOLERANCE).mean())
        near = np.allclose(losses[0], losses[1], rtol=TOLERANCE, atol=TOLERANCE)
        return {
            "equivalent": bool(agree >= AGREEING and near),
            "agree": round(agree, 6),
            "largest difference": apart,
            "largest prediction": float(np.abs(found[1]).max()),
            "steps": PLAIN_STEPS,
        }

    def without(self, name: str, job: Job, first: dict[str, Any]) -> str:
        """Train twice without a switch, and say what became of the result."""
        left_out = tuple(switch for switch in self.switches if switch != HASH_SEED) if name == ALL else (name,)
        found: list[dict[str, str]] = []
        for number in (0, TIMES - 1):
            if time.monotonic() + self.longest > self.ends:
                return NOT_TRIED
            self.say(f"without {name}, {len(found) + 1} of 2")
            try:
                result = self.trial(replace(job, without=left_out), number)
            except TooLong:
                return NOT_TRIED
            except Failure as error:
                return f"{NEEDED}: {error}"
            found.append(result["digests"])
        if found[0] != found[1]:
            return MATTERS
        return NO_EFFECT if found[0] == first["digests"] else OTHER_BITS

    def trial(
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
        left = max(self.ends - began, PATIENCE) if timeout is None else timeout
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


def run(device: str, minutes: float, tell: Callable[[str, float], object], own: bool) -> dict[str, Any]:
    """Make the self-test.

    Parameters
    ----------
    device : str
        "cpu" or "cuda"; "" is what the framework chooses.
    minutes : float
        How long it may take.
    tell : callable
        Takes what is done next and how much of the time is gone, 0 to 1.
    own : bool
        Whether the project's own training is tried too.

    Returns
    -------
    dict
        The outcome.

    Raises
    ------
    ProjectError
        If there is no such device, or a training that nothing is left out of fails.
    """
    os.environ.update(FRAMEWORK.launch_variables)  # some of which keep it quiet
    found = FRAMEWORK.device()
    chosen = device or found
    if chosen == "cuda" and found != "cuda":
        raise ProjectError("there is no GPU that the framework can use.", "just selftest --device cpu")
    with temporary_folder("selftest") as folder:
        try:
            return SelfTest(chosen, minutes, tell).run(folder, own)
        except Failure as error:
            raise ProjectError(f"a training of the self-test failed: {error}", "just train      says more") from error


def _shell(number: int) -> dict[str, str]:
    """Give what differs from shell to shell and must not matter: hash seed, threads, time zone."""
    threads = (1, 2, max(4, os.cpu_count() or 1))[number]
    return {
        HASH_SEED: str(number + 1),
        **dict.fromkeys((*launch.THREAD_VARIABLES, *FRAMEWORK.thread_variables), str(threads)),
        "TZ": ("UTC", "Asia/Kathmandu", "America/St_Johns")[number],
    }


def _equal(found: list[dict[str, str]]) -> dict[str, Any]:
    """Tell whether all results are equal, and in which parts they are not."""
    parts = [name for name in found[0] if len({result.get(name) for result in found}) > 1]
    return {"times": len(found), "equal": not parts, "parts": ", ".join(parts), "digests": found[0]}


def _untried(name: str, why: str) -> dict[str, Any]:
    """Say of a training why it was not tried; it speaks for nothing."""
    return {"name": name, "times": 0, "equal": True, "parts": why}


def _parting(losses: Iterable[list[float]]) -> str:
    """Name the step in which trainings part."""
    for step, values in enumerate(zip(*losses, strict=True), 1):
        if len({*values}) > 1 and not all(map(math.isnan, values)):
            return f"they part in step {step}"
    return "their losses are equal"


def _last_line(text: str) -> str:
    """Find what an error says in what a process printed."""
    text = text.replace(str(ROOT), ".").replace(str(Path.home()), "~")  # whoever reads it need not know whose it is
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return lines[-1].strip()[:300] if lines else ""
