"""The stress workloads of the self-test: real trainings, equal where they must be and different where they can be."""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from conftest import FRAMEWORKS, TEMPLATE, Project

from harness import load

#: The same task that other tests of a framework use: environments are shared.
TASKS = {"pytorch": "regression", "lightgbm": "regression"}
#: Trains from several shells, kills and resumes, and leaves out the hash seed and each seed.
TRIALS = """
import json, sys
from pathlib import Path
from bikes.reproducibility.selftest import plan
from bikes.reproducibility.selftest.job import Job, seed_switch
from bikes.reproducibility.selftest.runner import HASH_SEED, Runner

test = plan.SelfTest("cpu", Runner(Path(sys.argv[1]), 15), lambda what, gone: None)
job = Job("stress", steps=20)
first, stress = test.stress(job)
names = [HASH_SEED, *map(seed_switch, first["generators"])]
print(json.dumps({
    "stress": stress,
    "resumed": test.resumed(job, first),
    "losses": first["losses"],
    "packages": first["machine"]["packages"],
    "without": {name: test.without(name, job, first) for name in names},
    "operations": test.operations(),
}))
"""
#: What TensorFlow says, as it says it; on a GPU only, but for the last two.
REFUSALS = [
    (
        "{{function_node __wrapped__AdjustContrastv2_device_/job:localhost/replica:0/task:0/device:GPU:0}} "
        "A deterministic GPU implementation of AdjustContrastv2 is not currently available. "
        "[Op:AdjustContrastv2] name: ",
        "A deterministic GPU implementation of AdjustContrastv2 is not currently available",
    ),
    (
        "Graph execution error:\n\nDetected at node gradients/ResizeNearestNeighborGrad defined at (most recent call "
        "last):\n<stack traces unavailable>\nA deterministic GPU implementation of ResizeNearestNeighborGrad is not "
        "currently available.\n\t [[{{node gradients/ResizeNearestNeighborGrad}}]] [Op:__inference_learn_12]",
        "A deterministic GPU implementation of ResizeNearestNeighborGrad is not currently available",
    ),
    (
        "The GPU implementation of SoftmaxCrossEntropyWithLogits that would have been executed is not deterministic. "
        "Note that the Python API uses an alternative, deterministic, GPU-accelerated path when determinism is "
        "enabled.",
        "The GPU implementation of SoftmaxCrossEntropyWithLogits that would have been executed is not deterministic",
    ),
    (
        "Random ops require a seed to be set when determinism is enabled. Please set a seed before running the op, "
        "e.g. by calling tf.random.set_seed(1).",
        "Random ops require a seed to be set when determinism is enabled",
    ),
    (
        '"from_non_deterministic_state" cannot be called when determinism is enabled.',
        '"from_non_deterministic_state" cannot be called when determinism is enabled',
    ),
    ("a model of mine is not deterministic", None),
]


def part(framework: str, name: str) -> Any:
    """Find a module of a framework's own folder of the template."""
    folder = TEMPLATE / "template" / f"{{{{ '.' if framework == '{framework}' }}}}" / "{{ package_name }}"
    return folder / "reproducibility" / name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_workload_has_the_names_that_the_plan_uses(framework: str) -> None:
    body = ast.parse(part(framework, "selftest/workload.py").read_text("utf-8")).body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    targets = {ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)}
    targets |= {ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)}
    targets |= {name.asname or name.name for node in body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert {"PACKAGES", "GENERATORS", "OPERATIONS"} <= targets and "train" in functions


@pytest.fixture(scope="module")
def tensorflow() -> ModuleType:
    """The framework's module; it imports TensorFlow only where it needs it."""
    name = f"{load('conf').__package__}.framework_of_tensorflow"
    spec = importlib.util.spec_from_file_location(name, part("tensorflow", "framework.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("said", "named"), REFUSALS)
def test_what_tensorflow_refuses_is_named_in_its_own_words(tensorflow: ModuleType, said: str, named: str) -> None:
    unimplemented = type("UnimplementedError", (Exception,), {"__module__": "tensorflow.python.framework.errors_impl"})
    error = (unimplemented if "GPU" in said else RuntimeError)(said)
    assert tensorflow.FRAMEWORK.nondeterministic_operation(error) == named


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_workload_repeats_resumes_and_shows_each_seed_that_is_left_out(
    framework: str, set_up: Callable[..., Project], tmp_path: Any
) -> None:
    project = set_up(TASKS.get(framework, "classification"), framework)
    done = project.run(str(project.path / ".venv" / "bin" / "python"), "-c", TRIALS, str(tmp_path))
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["stress"]["equal"], found["stress"]["parts"]
    if framework == "scikit-learn":
        assert found["resumed"]["parts"] == "this framework's workload keeps no checkpoints"
    else:
        assert found["resumed"]["times"] == 2 and found["resumed"]["equal"], found["resumed"]["parts"]
    assert len(found["losses"]) == len({*found["losses"]}) == 20, "each step is told by its loss"
    assert found["packages"].keys() >= {"numpy"} and len(found["packages"]) > 1
    assert set(found["without"].values()) == {"matters here"}, found["without"]
    assert not [outcome for outcome in found["operations"].values() if outcome.startswith(("fails", "differs"))]
