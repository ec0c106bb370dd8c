"""The plan of the self-test: which trainings are made, in how much time."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..common.errors import ProjectError
from ..common.project import ROOT
from ..common.scratch import temporary_folder
from ..framework import FRAMEWORK
from . import outcome
from .job import PREDICTIONS, Job, seed_switch
from .runner import HASH_SEED, THREADS, Failure, Runner, TooLong

SCHEMA = 1
ALL = "all of these but the seeds"
NEEDED, NOT_TRIED = "refuses without it", "not tried: no time was left"
#: Steps of the stress workload: a few hundred, fewer where they would not fit into the time.
STEPS = range(20, 401)
#: Those of the plain trainings, which put two devices beside each other.
PLAIN_STEPS = 20
#: Trainings that must be equal, each from another shell.
TIMES = 3


class SelfTest:
    """The trainings of one self-test, one after the other.

    Parameters
    ----------
    device : str
        "cpu" or "cuda".
    runner : Runner
        Does them, and knows how much time is left; what does not fit is named.
    tell : callable
        Takes what is done next and how much of the time is gone, 0 to 1, for a person who waits.
    """

    def __init__(self, device: str, runner: Runner, tell: Callable[[str, float], object]) -> None:
        self.device = device
        self.runner = runner
        self.tell = tell
        self.generators: list[str] = []

    def run(self, own: bool) -> dict[str, Any]:
        """Do all trainings.

        Parameters
        ----------
        own : bool
            Whether there is a project, whose own training is tried beside the stress workload.

        Returns
        -------
        dict
            The outcome, as it is kept; `repeats` is the answer.
        """
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
            "seconds": round(time.monotonic() - self.runner.began),
        }
        content["repeats"] = all(training["equal"] for training in (*trainings, content["resumed"]))
        return content

    def say(self, what: str) -> None:
        """Tell what is done next."""
        runner = self.runner
        self.tell(what, min(1.0, 1 - runner.left / (runner.ends - runner.began)))

    def left_out(self) -> list[str]:
        """Name what is left out in turn, what matters most often first: the time may not suffice for all."""
        switches = self.runner.switches
        own = [name for name, variables in switches.items() if not variables]
        launched = [name for name in switches if name not in (*own, HASH_SEED, THREADS)]
        return [*own, HASH_SEED, *map(seed_switch, self.generators), THREADS, ALL, *launched]

    def steps(self) -> int:
        """Choose how many steps the workload takes, so that all trainings fit into the time that is left."""
        self.say("how fast is this machine?")
        job = Job("stress", self.device, STEPS[0])
        first = self.runner.run(job)  # the first start of a library takes longest
        # Asked there: a framework that is imported here would keep a part of the GPU.
        self.runner.switches |= {name: [] for name in first["switches"]}
        self.generators = first["generators"]
        began = time.monotonic()
        found = self.runner.run(job)
        start = time.monotonic() - began - STEPS[0] * found["step"]
        # Two of each; resumed; operations and devices; with all threads at once, those without THREADS take longer.
        trainings = TIMES + 2 * len(self.left_out()) + 2 + 3 + 6
        left = 0.8 * self.runner.left / trainings - start
        fits = left / max(found["step"], 1e-6)
        return int(min(max(fits, STEPS[0]), STEPS[-1]) // 10 * 10)

    def project(self) -> dict[str, Any]:
        """Train what the project trains, where it takes no more than a third of the time."""
        name = "the project's own training"
        third = self.runner.left / 3
        from .. import conf

        if not (file := ROOT / "confs" / "train.yaml").exists():
            return outcome.untried(name, "of its steps none is called `train`: just verify --step NAME")
        settings = conf.load(file)
        if settings.get(conf.INPUTS):
            return outcome.untried(name, "it takes what other steps made: just verify")
        if FRAMEWORK.processes(settings) > 1:
            return outcome.untried(name, "it takes several processes: just verify")
        found: list[dict[str, Any]] = []
        began = time.monotonic()
        for number in range(TIMES):
            self.say(f"{name}, {number + 1} of {TIMES}")
            try:
                job = Job("project", self.device)
                found.append(self.runner.run(job, number, max(third, 10.0), settings["seed"], settings["threads"]))
            except TooLong:
                return outcome.untried(name, f"takes longer than {third:.0f} s: just verify")
            if (len(found) + 1) / len(found) * (time.monotonic() - began) > third and len(found) > 1:
                break
        return {"name": name, **outcome.equal([result["digests"] for result in found])}

    def stress(self, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train the workload from several shells; give the first result, and whether all are equal."""
        found = []
        for number in range(TIMES):
            self.say(f"the stress workload, {number + 1} of {TIMES}")
            found.append(self.runner.run(job, number))
        equal = outcome.equal([result["digests"] for result in found])
        if not equal["equal"]:
            equal["parts"] += f"; {outcome.parting([result['losses'] for result in found])}"
        return found[0], {"name": "the stress workload", **equal}

    def resumed(self, job: Job, first: dict[str, Any]) -> dict[str, Any]:
        """Kill a training in the middle, and let another go on from its checkpoint."""
        name = "killed in the middle, and resumed"
        self.say(name)
        file = self.runner.folder / "checkpoint"
        dying = replace(job, checkpoint=str(file), dies_at=job.steps // 2 + 5)
        try:
            self.runner.run(dying)
        except Failure:
            if not file.exists():
                return outcome.untried(name, "this framework's workload keeps no checkpoints")
        again = self.runner.run(replace(job, checkpoint=str(file)), 1)
        return {"name": name, **outcome.equal([first["digests"], again["digests"]])}

    def operations(self) -> dict[str, str]:
        """Try the operations of the framework one by one."""
        self.say("operations, one by one")
        try:
            found: dict[str, str] = self.runner.run(Job("operations", self.device))["operations"]
        except Failure as error:
            return {"all": f"fails: {error}"}
        return found

    def devices(self) -> dict[str, Any] | None:
        """Train plainly on the GPU and on the CPU, and tell how far they are apart; None without a GPU."""
        if self.device == "cpu":
            return None
        import numpy as np

        self.say("the GPU against the CPU")
        predictions, losses = [], []
        for device in (self.device, "cpu"):
            losses.append(self.runner.run(Job("stress", device, PLAIN_STEPS, plain=True))["losses"])
            predictions.append(np.load(self.runner.folder / PREDICTIONS))
        return {**outcome.apart(predictions, losses), "steps": PLAIN_STEPS}

    def without(self, name: str, job: Job, first: dict[str, Any]) -> str:
        """Train twice without a switch, and say what became of the result."""
        left_out = tuple(switch for switch in self.runner.switches if switch != HASH_SEED) if name == ALL else (name,)
        found: list[dict[str, str]] = []
        for number in (0, TIMES - 1):
            if self.runner.left < self.runner.longest:
                return NOT_TRIED
            self.say(f"without {name}, {len(found) + 1} of 2")
            try:
                result = self.runner.run(replace(job, without=left_out), number)
            except TooLong:
                return NOT_TRIED
            except Failure as error:
                return f"{NEEDED}: {error}"
            found.append(result["digests"])
        return outcome.effect(found, first["digests"])


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
            return SelfTest(chosen, Runner(folder, minutes), tell).run(own)
        except Failure as error:
            raise ProjectError(f"a training of the self-test failed: {error}", "just train      says more") from error
