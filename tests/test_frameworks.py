"""Frameworks besides scikit-learn, held to the same bar: real trainings from the real hashed locks."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Project, clone, copy_project, refused
from test_randomness import FOREIGN_SHELL, recorded, train
from test_run import local_path

pytestmark = pytest.mark.e2e

#: Ends the process in the middle of a training, after a round and in a way that the environment names.
STOP = """\
    import os
    import signal

    if str(len(losses)) == os.environ.get("STOP_AT"):
        os.kill(os.getpid(), getattr(signal, os.environ["STOP_BY"]))
    return bool(losses)"""


#: What each framework's training is told by: its steps, and a setting that changes the first.
BOOSTING = ("round {}", "model.max_depth=2")
NETWORK = ("step {}", "model.learning_rate=0.01")
TELLTALES = {
    "xgboost": BOOSTING,
    "lightgbm": BOOSTING,
    "pytorch": NETWORK,
    "tensorflow": NETWORK,
}
#: Held to everything; of the other task each framework does one run, which is reproduced.
THOROUGH = [
    ("xgboost", "classification"),
    ("lightgbm", "regression"),
    ("pytorch", "regression"),
    ("tensorflow", "classification"),
]
OTHER_TASK = {"classification": "regression", "regression": "classification"}


@pytest.fixture(scope="module", params=THOROUGH, ids="-".join)
def base(request: pytest.FixtureRequest, set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project that can be stopped in the middle of a training, and a run of it, through MLflow, that was not."""
    framework, task = request.param
    project = clone(set_up(task, framework), tmp_path_factory.mktemp("base") / "bikes")
    module = project.path / "bikes" / "progress.py"
    source = module.read_text("utf-8")
    assert source.count("    return bool(losses)") == 1
    module.write_text(source.replace("    return bool(losses)", STOP), "utf-8")
    project.just("run")  # in the environment of the hashed lock
    return project, latest(project), TELLTALES[framework]


def latest(project: Project) -> Any:
    """The newest run's record."""
    run = project.runs()[0]
    return {"run": run, **recorded(run)}


def test_a_run_has_its_steps_its_curves_and_a_model_without_pickle(base: Any) -> None:
    project, first, (step, _) = base
    run = first["run"]
    assert {step.format(count) for count in (1, 2, 4, 8, 16, 32)} <= first["stages"].keys()
    curve = project.client().get_metric_history(run.info.run_id, "validation")
    assert [point.step for point in curve] == list(range(1, len(curve) + 1)), "one point a round or epoch"
    losses = [point.value for point in curve]
    assert losses.index(min(losses)) < len(losses) - 1, "it stopped early, and kept the best"
    plots = {path.name for path in (local_path(run.info.artifact_uri) / "plots").iterdir()}
    assert {"curves.png", "feature_importance.png"} <= plots
    model = run.outputs.model_outputs[0].model_id
    files = [path.name for path in project.path.glob(f"mlruns/**/{model}/**/*") if path.is_file()]
    assert {"structure.json", "arrays.npz"} <= {*files}
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pth"))]


#: Tells which rows a run of a conf holds out.
HELD_OUT = """\
import json, sys
from pathlib import Path
from bikes import split
from bikes.reproducibility import Run, conf
from bikes.settings import Settings
settings = Settings.model_validate(conf.load(Path("confs/train.yaml"), tuple(sys.argv[1:])))
run = Run(settings.seed)
[(_, rows)] = split.parts(run.dataset(settings.dataset), settings, run.rng("split"))
print(json.dumps(rows.tolist()))
"""


def require_as_then(project: Project, run: Any, output: Path, *settings: str) -> None:
    """Hold the file of `just predict` for a whole dataset to what its run predicted for the rows that it held out."""
    python = str(project.path / ".venv/bin/python")
    rows = json.loads(project.run(python, "-c", HELD_OUT, *settings).stdout.splitlines()[-1])
    then = pd.read_parquet(local_path(run.info.artifact_uri) / "record" / "predictions.parquet")["prediction"]
    predicted = pd.read_csv(output).iloc[rows]
    if pd.api.types.is_numeric_dtype(then):
        # A network adds up in another order in a batch of another size; trees do not.
        np.testing.assert_allclose(predicted["prediction"], then, rtol=1e-5)
    else:
        assert list(predicted["prediction"]) == list(then)
        probabilities = predicted.filter(regex="^probability ")
        assert list(probabilities.idxmax(axis=1).str.removeprefix("probability ")) == list(then)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.slow
def test_a_model_predicts_in_another_environment_what_its_run_did(base: Any, tmp_path: Path) -> None:
    """The run was in MLflow's environment, `just predict` is in .venv."""
    project, first, _ = base
    dataset = next(iter(first["data"]))
    output = tmp_path / "predictions.csv"
    project.just("predict", first["run"].info.run_id, f"data/{dataset}.csv", "-o", str(output))
    require_as_then(project, first["run"], output)


@pytest.mark.slow
def test_processes_threads_and_shells_give_one_result_and_another_seed_another(base: Any) -> None:
    project, first, (step, _) = base
    project.just("run", **FOREIGN_SHELL)
    for again in (latest(project), train(project), train(project, TZ="Asia/Kathmandu")):
        assert again["stages"] == first["stages"]
        assert again["result"] == first["result"]
    threaded, once_more = train(project, "threads=8"), train(project, "threads=8", **FOREIGN_SHELL)
    assert {value for name, value in threaded["launch"].items() if name.endswith("_THREADS")} == {"8"}
    assert threaded["stages"] == once_more["stages"]
    if step.startswith("round"):  # trees are the same with any number of threads; networks add up in another order
        assert threaded["stages"] == first["stages"]
    other = train(project, "seed=7")
    differing = {stage for stage in first["stages"] if other["stages"].get(stage) != first["stages"][stage]}
    assert differing >= {"split", "validation", step.format(1), "weights", "predictions", "metrics"}


@pytest.mark.slow
def test_a_run_is_reproduced_and_a_difference_is_found_in_its_step(base: Any) -> None:
    project, first, (step, setting) = base
    done = project.just("reproduce", first["run"].info.run_id)
    assert "identical: every stage is equal" in done.stdout
    other = train(project, setting)
    done = project.just("compare", first["run"].info.run_id, other["run"].info.run_id, check=False)
    assert done.returncode == 1
    assert f"the first stage that differs: {step.format(1)}\n" in done.stdout
    assert f"conf      {setting.partition('=')[0]}" in done.stdout


OLD_CPU = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX AVX2 FMA3"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "task", "variables"),
    [
        ("pytorch", "regression", {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
        ("tensorflow", "classification", {"TF_ENABLE_ONEDNN_OPTS": "0", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    ],
)
def test_kernels_of_another_cpu_are_named_as_the_cause(
    set_up: Any, framework: str, task: str, variables: dict[str, str], tmp_path: Path
) -> None:
    project = clone(set_up(task, framework), tmp_path / "bikes")
    here = train(project)["run"].info.run_id
    elsewhere = train(project, **OLD_CPU, **variables)["run"].info.run_id
    done = project.just("compare", here, elsewhere, check=False)
    assert "equivalent: not to the last bit" in done.stdout
    for name, value in variables.items():
        assert f"{name}: none -> {value}" in done.stdout
    assert "equivalent" in project.just("reproduce", elsewhere).stdout


@pytest.mark.slow
@pytest.mark.parametrize(("framework", "task"), [("xgboost", "classification"), ("lightgbm", "regression")])
def test_trees_are_identical_on_another_cpu_and_the_difference_is_told(
    set_up: Any, framework: str, task: str, tmp_path: Path
) -> None:
    project = clone(set_up(task, framework), tmp_path / "bikes")
    here = train(project)["run"].info.run_id
    elsewhere = train(project, **OLD_CPU)["run"].info.run_id
    done = project.just("compare", here, elsewhere)
    assert "identical: every stage is equal" in done.stdout
    assert re.search(r"without effect:\n  cpu +kernels: openblas .* -> openblas Nehalem", done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("when", "by"), [("early", "SIGKILL"), ("late", "SIGTERM")])
def test_a_resumed_training_gives_the_bits_of_one_that_was_never_interrupted(base: Any, when: str, by: str) -> None:
    project, first, _ = base
    conf = yaml.safe_load((project.path / "confs" / "train.yaml").read_text("utf-8"))["model"]
    steps = len(project.client().get_metric_history(first["run"].info.run_id, "train"))
    every = conf.get("checkpoint_epochs") or conf["checkpoint_rounds"]
    at = every + 3 if when == "early" else steps - 1
    assert every < at < steps
    project.just("train", check=False, STOP_AT=str(at), STOP_BY=by)
    stopped = project.runs()[0]
    assert stopped.info.status in {"RUNNING", "KILLED"}
    checkpoints = sorted((local_path(stopped.info.artifact_uri) / "checkpoint").iterdir())
    if len(checkpoints) == 2:  # the later of the two was being written
        checkpoints[0].write_bytes(checkpoints[0].read_bytes()[:100])
    project.just("train", "--resume", stopped.info.run_id)
    resumed = latest(project)
    assert resumed["run"].data.tags["repro.resumes"] == stopped.info.run_id
    assert resumed["stages"] == first["stages"]
    assert resumed["metrics"] == first["metrics"]
    curves = [
        [point.value for point in project.client().get_metric_history(run.info.run_id, "train")]
        for run in (first["run"], resumed["run"])
    ]
    assert curves[0] == curves[1]


@pytest.mark.slow
def test_what_cannot_be_resumed_is_refused(base: Any) -> None:
    project, *_ = base
    project.just("train", check=False, STOP_AT="3", STOP_BY="SIGKILL")
    early = project.runs()[0].info.run_id
    assert "left no checkpoint" in refused(project.just("train", "--resume", early, check=False))
    assert "there is no run" in refused(project.just("train", "--resume", "f" * 32, check=False))
    done = project.just("train", "--resume", early, "--set", "seed=3", check=False)
    assert done.returncode == 64 and "leave --set and --seed out" in done.stdout


@pytest.mark.slow
def test_a_pickled_network_is_loaded_only_when_told_to(set_up: Any, tmp_path: Path) -> None:
    project = clone(set_up("regression", "pytorch"), tmp_path / "bikes")
    module = project.path / "bikes" / "reproducibility" / "framework.py"
    source = module.read_text("utf-8")
    assert 'serialization_format="pt2"' in source
    module.write_text(source.replace('serialization_format="pt2"', 'serialization_format="pickle"'), "utf-8")
    module = project.path / "bikes" / "train.py"
    source = module.read_text("utf-8")
    network = 'Result(fitted.model, inputs.astype("float32")'  # by itself, it is stored as a graph
    assert source.count("Result(fitted, inputs") == 1
    module.write_text(source.replace("Result(fitted, inputs", network), "utf-8")
    command = ["predict", train(project)["run"].info.run_id, "data/diabetes.csv"]
    assert "pickle" in refused(project.just(*command, check=False))
    project.just(*command, "--allow-unsafe")


@pytest.mark.slow
@pytest.mark.parametrize("framework", TELLTALES)
def test_the_rendered_project_is_clean_and_so_is_that_of_the_other_task(
    framework: str, set_up: Any, tmp_path: Path
) -> None:
    task = dict(THOROUGH)[framework]
    set_up(task, framework).just("check")
    set_up(task, framework).just("test")
    other = Project(copy_project(tmp_path / "bikes", framework=framework, task=OTHER_TASK[task]))
    (other.path / ".venv").symlink_to(set_up(task, framework).path / ".venv")
    other.git("init", "--quiet")
    other.commit()
    other.just("check")
    first = train(other)
    assert "identical" in other.just("reproduce", first["run"].info.run_id).stdout


#: How lines of TensorFlow's log begin, one of which goes on in the next line.
LOGGED = re.compile(r"(?m)^(WARNING: All log messages before|[IWE]\d{4} |To enable the following)")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "run", "verify", "reproduce last"])
def test_what_tensorflow_logs_is_shown_where_that_is_asked_for_and_changes_nothing(
    command: str, set_up: Any, tmp_path: Path
) -> None:
    project = clone(set_up("classification", "tensorflow"), tmp_path / "bikes")
    if command == "reproduce last":
        project.just("train")
    assert LOGGED.findall(project.just(*command.split()).stdout) == []
    quiet = latest(project)
    assert "WARNING: All log messages before" in LOGGED.findall(project.just(*command.split(), "-v").stdout)
    told = latest(project)
    assert told["launch"] == quiet["launch"] and told["result"] == quiet["result"]
    assert told["run"].info.run_id != quiet["run"].info.run_id


#: A sum of many numbers into few places, by eight threads: in how many ways it comes out.
INDEX_PUT = """\
import sys
import torch
from bikes.reproducibility.framework import FRAMEWORK
if sys.argv[1] == "strict":
    FRAMEWORK.set_deterministic(warn_only=False)
FRAMEWORK.set_seed(1)
torch.set_num_threads(8)
values, places = torch.rand(1_000_000), torch.randint(10, (1_000_000,))
sums = [torch.zeros(10).index_put_((places,), values, accumulate=True) for _ in range(10)]
print(len({total.numpy().tobytes() for total in sums}))
"""
#: Random numbers in a pipeline of eight threads, and the first weights of a layer.
RANDOM_MAP = """\
import sys
import keras
import numpy as np
import tensorflow as tf
from bikes.reproducibility.framework import FRAMEWORK
if sys.argv[1] != "no determinism":
    FRAMEWORK.set_deterministic(warn_only=False)
if sys.argv[1] != "no seed of Keras":
    FRAMEWORK.set_seed(1)
else:
    tf.random.set_seed(1)
rows = tf.data.Dataset.range(2000).map(lambda i: tf.random.uniform([]), num_parallel_calls=8)
layer = keras.layers.Dense(4)
layer.build((None, 3))
print(hash(np.array(list(rows.as_numpy_iterator())).tobytes()), hash(np.asarray(layer.kernel).tobytes()))
"""
#: Differs from run to run on many rows and threads: the gradients are added up in any order.
MANY_ROWS = """\
import hashlib, sys
import lightgbm as lgb, numpy as np
rng = np.random.default_rng(0)
X = rng.random((1_000_000, 8))
y = X[:, 0] * 3 + rng.normal(size=len(X))
parameters = {"objective": "regression", "verbosity": -1, "num_threads": int(sys.argv[2]), "seed": 1}
if sys.argv[1] == "strict":
    parameters |= {"deterministic": True, "force_row_wise": True}
text = lgb.train(parameters, lgb.Dataset(X, y), 10).model_to_string().partition("end of trees")[0]
print(hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.mark.slow
def test_lightgbm_repeats_a_million_rows_only_with_its_switch(set_up: Any) -> None:
    python = set_up("regression", "lightgbm").path / ".venv" / "bin" / "python"

    def digest(switch: str, threads: int) -> str:
        command = [str(python), "-c", MANY_ROWS, switch, str(threads)]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    assert len({digest("strict", 8) for _ in range(5)} | {digest("strict", 1)}) == 1
    assert any(digest("loose", 8) != digest("loose", 8) for _ in range(10))


def outputs(project: Project, program: str, *arguments: str) -> list[str]:
    """Run a program in a project's .venv, and give the words that it prints."""
    command = [str(project.path / ".venv" / "bin" / "python"), "-c", program, *arguments]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=project.path, env=quiet, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()


@pytest.mark.slow
def test_pytorch_adds_up_in_one_order_only_with_its_switch(set_up: Any) -> None:
    project = set_up("regression", "pytorch")
    assert outputs(project, INDEX_PUT, "strict") == ["1"]
    assert any(outputs(project, INDEX_PUT, "loose") != ["1"] for _ in range(5))


@pytest.mark.slow
def test_tensorflow_repeats_itself_only_with_both_its_switches(set_up: Any) -> None:
    project = set_up("classification", "tensorflow")
    numbers, weights = outputs(project, RANDOM_MAP, "all")
    assert all(outputs(project, RANDOM_MAP, "all") == [numbers, weights] for _ in range(2))
    assert any(outputs(project, RANDOM_MAP, "no determinism")[0] != numbers for _ in range(5))
    assert outputs(project, RANDOM_MAP, "no seed of Keras")[1] != weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "task", "imports", "operation", "name"),
    [
        (
            *("pytorch", "regression", "import torch"),
            *("torch.zeros(2).put_(torch.tensor([1, 1]), torch.ones(2))", "put_"),
        ),
        (  # TensorFlow refuses on a GPU only, and in these words
            *("tensorflow", "classification", "import tensorflow as tf"),
            'raise tf.errors.UnimplementedError(None, None, "A deterministic GPU implementation of X is missing")',
            "A deterministic GPU implementation of X",
        ),
    ],
)
def test_an_operation_without_a_deterministic_form_is_named(
    framework: str, task: str, imports: str, operation: str, name: str, set_up: Any, tmp_path: Path
) -> None:
    project = clone(set_up(task, framework), tmp_path / "bikes")
    module = project.path / "bikes" / "train.py"
    source = module.read_text("utf-8")
    begin = "    table = run.dataset(settings.dataset)\n"
    assert source.count(begin) == 1
    module.write_text(source.replace(begin, f"    {imports}\n\n    {operation}\n{begin}"), "utf-8")
    done = project.just("train", check=False)
    assert done.returncode == 3 and "Traceback" not in done.stdout
    assert f"an operation of this training has no deterministic form: {name}" in done.stdout
    assert "--set nondeterminism=warn" in done.stdout
    assert project.runs()[0].info.status == "FAILED"
    if framework == "pytorch":
        assert train(project, "nondeterminism=warn")["run"].info.status == "FINISHED"
