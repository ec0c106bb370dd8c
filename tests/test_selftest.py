"""The self-test: it tells the truth about machines that repeat and about planted ones that do not."""

from __future__ import annotations

import datetime
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import marked
import pytest
from conftest import TEMPLATE, Project, clone
from test_compare import replace

import harness
import proofs

show = harness.load("selftest.show")

#: A framework with one switch of each kind.
FRAMEWORK = """
import os
from .modeling.base import Framework

ON = set()


class Planted(Framework):
    launch_variables = {"PLANTED_UNUSED": "1"}

    def switches(self, warn_only):
        return {name: (lambda name=name: ON.add(name)) for name in ("sorts", "rounds", "idles", "is needed")}

    def nondeterministic_operation(self, error):
        return "gamble" if str(error) == "gamble" else None


FRAMEWORK = Planted()
"""
#: Its workload: each switch and each generator decides something. `FAULT` is where faults are planted.
WORKLOAD = """
import os, random, signal, time
import numpy as np
from ..framework import ON

PACKAGES, GENERATORS = "numpy", ("random", "numpy.random")


def train(job, note):
    if "is needed" not in ON:
        raise RuntimeError("switch `is needed` on")
    job.reseed("init")
    weights, momentum, done = np.zeros(3), np.zeros(3), 0
    words = np.array([len(word) * i for i, word in enumerate({"a", "bb", "ccc", "dddd"})], float)
    if "sorts" in ON:
        pass
    else:
        weights += int.from_bytes(os.urandom(4))
    weights[2] += 0.5 if "rounds" in ON else 0.25
    weights[1] += job.threads or int(os.environ["OMP_NUM_THREADS"])
    if job.file and job.file.exists():
        kept = np.load(job.file)
        weights, momentum, done = kept["weights"], kept["momentum"], int(kept["done"])
    for step in range(done, job.steps):
        if step % 5 == 0:
            if job.file:
                with job.file.open("wb") as file:
                    np.savez(file, weights=weights, momentum=momentum, done=step)
            job.reseed(f"epoch {step}")
        if step + 1 == job.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        momentum = 0.9 * momentum + np.random.normal(size=3) + random.random()
        weights = weights + momentum
        # FAULT
        note(float(weights.sum()))
    return {"weights": {"w": weights}, "words": {"w": words}, "predictions": {"all": weights * 2}}


def _gamble(job):
    raise RuntimeError("gamble")


def _breaks(job):
    raise RuntimeError("no such kernel")


OPERATIONS = {
    "sum": lambda job: np.ones(3), "draw": lambda job: np.array(time.perf_counter_ns()),
    "gamble": _gamble, "break": _breaks,
}
"""
RUN = """
import json, sys
from planted.reproducibility.common.command_line import command_line
from planted.reproducibility.selftest import plan, show

def body():
    content = plan.run(sys.argv[1], float(sys.argv[2]), lambda what, gone: None, own=False)
    print(json.dumps({"content": content, "text": show.text(content)}))

command_line(body)
"""


@dataclass
class Bare:
    """A harness with a framework of the tests' own, and no project."""

    folder: Path

    def plant(self, old: str, new: str) -> None:
        """Change the workload."""
        path = self.folder / "planted" / "reproducibility" / "selftest" / "workload.py"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")

    def run(self, device: str = "", minutes: float = 2.0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", RUN, device, str(minutes)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)

    def outcome(self, **options: Any) -> tuple[dict[str, Any], str]:
        done = self.run(**options)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer["content"], answer["text"]


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    folder = tmp_path / "planted" / "reproducibility"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TEMPLATE / "template" / "{{ package_name }}" / "reproducibility", folder, ignore=ignored)
    (folder / "framework.py").write_text(FRAMEWORK, "utf-8")
    (folder / "selftest" / "workload.py").write_text(WORKLOAD, "utf-8")
    return Bare(tmp_path)


@pytest.mark.e2e
def test_every_switch_is_told_by_what_it_does_here(bare: Bare) -> None:
    content, text = bare.outcome()
    assert content["repeats"] is True
    assert content["switches"] == {
        "PYTHONHASHSEED": "matters here",
        "the number of threads": "matters here",
        "PLANTED_UNUSED": "no effect seen here",
        "sorts": "matters here",
        "rounds": "other bits, which repeat",
        "idles": "no effect seen here",
        "is needed": "refuses without it: RuntimeError: switch `is needed` on",
        "all of these but the seeds": "refuses without it: RuntimeError: switch `is needed` on",
        "the seed of random": "matters here",
        "the seed of numpy.random": "matters here",
    }
    assert content["operations"] == {
        "sum": "repeats",
        "draw": "differs",
        "gamble": "refused: gamble",
        "break": "fails: no such kernel",
    }
    assert content["resumed"]["equal"] and content["resumed"]["times"] == 2
    assert content["devices"] is None, "there is no GPU to put beside the CPU"
    assert "DIFFERS, and nothing says so" in text and text.endswith("training repeats on this machine")
    assert content["steps"] >= 20 and content["machine"]["packages"].keys() == {"numpy"}


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("weights = weights + (step == 6) * os.getpid()", "weights, predictions; they part in step 7"),
        pytest.param("words = words + os.getpid()", "words; their losses are equal", marks=pytest.mark.slow),
        pytest.param(
            "job.steps == 20 or time.sleep(0); weights[0] += int(os.environ['TZ'] == 'UTC')",
            "weights, predictions",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_training_that_does_not_repeat_is_caught_with_its_step(bare: Bare, fault: str, parts: str) -> None:
    bare.plant("# FAULT", fault)
    content, text = bare.outcome()
    assert content["repeats"] is False and content["trainings"][0]["equal"] is False
    assert content["trainings"][0]["parts"].startswith(parts)
    assert f"DIFFERS in {parts}" in text and text.endswith("training does NOT repeat on this machine")


@pytest.mark.e2e
def test_a_resume_that_forgets_something_is_caught(bare: Bare) -> None:
    bare.plant('kept["weights"], kept["momentum"]', 'kept["weights"], momentum')
    content, text = bare.outcome()
    assert content["trainings"][0]["equal"] and not content["resumed"]["equal"] and content["repeats"] is False
    assert re.search("killed in the middle, and resumed +DIFFERS in weights, predictions\n", text), text


def test_what_does_not_fit_into_the_time_is_named(bare: Bare) -> None:
    content, _ = bare.outcome(minutes=0.02)
    assert content["steps"] == 20 and content["repeats"] is True
    assert set(content["switches"].values()) == {"not tried: no time was left"}


def test_a_failing_training_and_a_device_that_is_not_there_are_errors(bare: Bare) -> None:
    done = bare.run(device="cuda")
    assert done.returncode == 3 and "error: there is no GPU that the framework can use." in done.stderr
    bare.plant("# FAULT", "raise ValueError('no data')")
    done = bare.run()
    assert done.returncode == 3 and done.stderr.startswith(
        "error: a training of the self-test failed: ValueError: no data"
    )


@pytest.fixture
def keep(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return imported(bare, "selftest.keep", monkeypatch)


def imported(bare: Bare, module: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a module of a bare harness anew."""
    monkeypatch.syspath_prepend(str(bare.folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "planted"]:
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module(f"planted.reproducibility.{module}")


@pytest.mark.parametrize("name", ["put_", "_histc_cuda with floating point input", "median CUDA with indices output"])
def test_an_operation_is_named_whatever_pytorch_calls_it(
    bare: Bare, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As it said on an H100."""
    own = TEMPLATE / "template" / "{{ '.' if framework == 'pytorch' }}" / "{{ package_name }}" / "reproducibility"
    shutil.copytree(own, bare.folder / "planted" / "reproducibility", dirs_exist_ok=True)
    said = (
        f"{name} does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True)'."
    )
    framework = imported(bare, "framework", monkeypatch).FRAMEWORK
    assert framework.nondeterministic_operation(RuntimeError(said)) == name
    assert framework.nondeterministic_operation(RuntimeError("CUDA error: out of memory")) is None


def proof(keep: ModuleType, **changes: Any) -> dict[str, Any]:
    machine = keep.fingerprint.machine() | {"packages": {"pytest": pytest.__version__}}
    content = {"date": "2026-11-26", "device": "cuda", "repeats": True}
    content |= {name: value for name, value in changes.items() if name in content}
    return content | {"machine": machine | {name: value for name, value in changes.items() if name not in content}}


@pytest.mark.parametrize(
    ("changes", "well", "said"),
    [
        ({}, True, "training repeats here: proven on 2026-11-26 on cuda"),
        (
            {"gpu": ["NVIDIA H100, 570.1"]},
            True,
            "proven on 2026-11-26 on cuda, NVIDIA H100, 570.1; since then another driver or GPU: just selftest",
        ),
        ({"cpu": "another", "packages": {"pytest": "1", "gone": "2"}}, True, "since then another cpu, pytest, gone"),
        ({"repeats": False}, False, "training did not repeat on 2026-11-26 on cuda"),
    ],
)
def test_the_doctor_says_what_was_proven_and_what_changed(
    keep: ModuleType, changes: dict[str, Any], well: bool, said: str
) -> None:
    assert keep.finding() == (True, "training repeats here: not tried: just selftest", "")
    keep.FILE.write_text(json.dumps(proof(keep, **changes)))
    found = keep.finding()
    assert found[0] is well and said in found[1]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"machine": {}}', '{"machine": 3}'])
def test_the_doctor_survives_a_broken_file(keep: ModuleType, content: str) -> None:
    keep.FILE.write_text(content)
    assert keep.finding() == (False, f"{keep.FILE.name} cannot be read", "just selftest")


@pytest.mark.e2e
@pytest.mark.parametrize(
    "framework",
    [
        "scikit-learn",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("pytorch", "tensorflow", "xgboost", "lightgbm")),
    ],
)
def test_a_project_proves_its_own_training(framework: str, set_up: Callable[..., Project], tmp_path: Path) -> None:
    project = clone(set_up("classification", framework), tmp_path / "bikes")
    # Short by few steps and switches: were it by little time, what is tried would depend on how busy the machine is.
    plan = project.path / "bikes" / "reproducibility" / "selftest" / "plan.py"
    replace(plan, "range(20, 401)", "range(20, 21)")
    if framework == "scikit-learn":
        replace(plan, "*map(seed_switch, self.generators), THREADS, ALL, ", "")
    project.commit()
    done = project.just("selftest", "--minutes", "10")
    assert "the project's own training, 3 times" in done.stdout
    assert "training repeats on this machine" in done.stdout
    content = json.loads((project.path / ".selftest.json").read_text("utf-8"))
    assert content["repeats"] is True and content["date"] <= datetime.datetime.now(datetime.UTC).date().isoformat()
    assert content["switches"]["PYTHONHASHSEED"] == "matters here"
    assert project.git("status", "--porcelain") == ""
    [experiment] = [one for one in project.client().search_experiments() if one.name.endswith("-selftest")]
    [run] = project.client().search_runs([experiment.experiment_id])
    assert run.data.tags["repro.selftest"] == "repeats"
    names = {artifact.path for artifact in project.client().list_artifacts(run.info.run_id)}
    assert names == {"selftest.json", "selftest.html"}
    assert "No runs yet" in project.just("runs").stdout, "it is no run of the project's own experiment"
    assert "training repeats here: proven on" in project.just("doctor").stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_the_script_for_bare_machines_needs_no_project(set_up: Callable[..., Project], tmp_path: Path) -> None:
    python = set_up("classification", "pytorch").path / ".venv" / "bin" / "python"
    command = [str(python), str(TEMPLATE / "bin" / "gpu"), "--device", "cpu", "--minutes", "2"]
    done = subprocess.run([*command, "--output", str(tmp_path / "out.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert content["repeats"] is True and "torch" in content["machine"]["packages"]
    assert content["operations"]["put"] == "refused: put_"


def test_the_site_says_what_the_proofs_say() -> None:
    page = proofs.PAGE.read_text("utf-8")
    assert marked.fill(page, proofs.BEGIN, proofs.END, proofs.table(TEMPLATE)) == page, "just proofs"
    for path in (TEMPLATE / "docs" / "proofs").glob("*.json"):
        content = json.loads(path.read_text("utf-8"))
        assert show.text(content).endswith(show.REPEATS[content["repeats"]]), path.name
        assert not any("tmp" in text or "/" in text for text in content["machine"]["packages"].values())
