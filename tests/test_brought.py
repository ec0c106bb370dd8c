"""Models of the other frameworks as people bring them: told apart, told equal, stored, loaded, and asked."""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import Project, clone, refused
from oracle import FOLDER, ask, hold
from test_frameworks import require_as_then
from test_randomness import train

pytestmark = pytest.mark.e2e

TASKS = {
    "xgboost": "classification",
    "lightgbm": "regression",
    "pytorch": "regression",
    "tensorflow": "classification",
}
BOOSTERS, NETWORKS = ("xgboost", "lightgbm"), ("pytorch", "tensorflow")
#: Networks are asked in as many parts.
SHARDS = 24
#: What has no format but pickle or a program, and why.
NOT_STORED = {
    "weight norm": "PyTorch makes a class for each parametrized module; as a graph it is stored",
    "spectral norm": "the same",
    "quantized": "the packed weights are an object of C++",
    "scripted": "TorchScript is a program",
    "a lambda": "a lambda is code",
    "a secret": "a network of Keras is made again from its configuration, which does not tell the attribute",
    "lookup": "Keras stores models, and this is a layer",
    "lambda": "a lambda is code",
}
#: What cannot be made for the oracle, and why.
NOT_MADE = {
    r"nn\.FractionalMaxPool\dd \d+": "PyTorch's own inputs fit other types of numbers only",
    "FlaxLayer|JaxLayer|TorchModuleWrapper|TFSMLayer": "layers around what other libraries made",
    "Layer|Wrapper|InputLayer|Pipeline": "bases, and what is no layer by itself",
    r".*Cell|StackedRNNCells|MultiHeadAttention|GroupQueryAttention": "called with states or queries besides rows",
    "(Integer|String)Lookup|TextVectorization|HashedCrossing": "take texts or pairs; the first are brought as models",
    "ContrastLimited.*|Equalization|RandomPosterization|.*Spectrogram|ConvLSTM3D": (
        "take images, sounds or videos of sizes of their own"
    ),
}


def brings(set_up: Callable[..., Project], framework: str, folder: Path) -> Project:
    """Give a project of a framework with the models that people bring as a module of its own."""
    project = clone(set_up(TASKS[framework], framework), folder / "bikes")
    source = FOLDER / f"brought_{'boosters' if framework in BOOSTERS else framework}.py"
    shutil.copy(source, project.path / "bikes" / "brought.py")
    return project


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("framework", NETWORKS)
def test_every_network(framework: str, shard: int, set_up: Callable[..., Project], tmp_path: Path) -> None:
    project = brings(set_up, framework, tmp_path)
    (tmp_path / "stored").mkdir()
    arguments = (str(shard), str(SHARDS), str(tmp_path / "stored"))
    first = ask(project, "networks.py", "first", *arguments)
    assert len(first) >= 5
    hold(first, ask(project, "networks.py", "again", *arguments, hash_seed=2), NOT_STORED, NOT_MADE)


@pytest.mark.slow
@pytest.mark.parametrize("framework", BOOSTERS)
def test_boosters_of_every_kind(framework: str, set_up: Callable[..., Project], tmp_path: Path) -> None:
    project = set_up(TASKS[framework], framework)
    first = ask(project, "boosters.py", "first", str(tmp_path))
    assert len(first) > 40
    hold(first, ask(project, "boosters.py", "again", str(tmp_path), hash_seed=2), NOT_STORED)


@pytest.mark.parametrize(
    "framework", [name if name == "xgboost" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_a_run_keeps_any_model_or_says_why_not(framework: str, set_up: Callable[..., Project], tmp_path: Path) -> None:
    """Whatever the columns are called, and loaded by MLflow's own tools."""
    project = brings(set_up, framework, tmp_path)
    logged = ask(project, "kept.py", "log", str(tmp_path))
    loaded = ask(project, "kept.py", "load", str(tmp_path), hash_seed=2)
    assert len(logged) > 8
    for name, one in logged.items():
        assert one["stages"] == ["weights", "probe"], name
        assert one["unchanged"], f"{name} is called another once it was asked and stored"
        # What PyTorch makes a class for is stored as a graph.
        assert ("repro.model_not_stored" in one) == (name in NOT_STORED and name != "weight norm"), f"{name}: {one}"
        if "repro.model" in one:
            assert loaded[name] == pytest.approx(one["answer"], rel=1e-6), name


def cpu_time() -> float:
    """Seconds that the commands of this test used so far, whatever else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


#: Puts the first line of a training that its user lets MLflow log by itself.
AUTOLOG = "    import mlflow\n\n    mlflow.autolog()\n"
BEGIN = "    table = run.dataset(settings.dataset)\n"


@pytest.mark.slow
@pytest.mark.parametrize("framework", [*TASKS, "scikit-learn"])
def test_autologging_changes_no_result_and_takes_little_time(
    framework: str, set_up: Callable[..., Project], tmp_path: Path
) -> None:
    project = clone(set_up(TASKS.get(framework, "classification"), framework), tmp_path / "bikes")
    module = project.path / "bikes" / "train.py"
    source = module.read_text("utf-8")
    assert source.count(BEGIN) == 1
    told: dict[bool, str] = {}
    times: dict[bool, list[float]] = {False: [], True: []}
    for logs in (False, True, False, True):  # what only a first run does is in neither's best
        module.write_text(source.replace(BEGIN, AUTOLOG + BEGIN) if logs else source, "utf-8")
        began = cpu_time()
        told[logs] = project.just("train").stdout
        times[logs].append(cpu_time() - began)
    results = {run.data.tags["repro.result"] for run in project.runs()}
    assert len(results) == 1
    assert min(times[True]) < 1.5 * min(times[False]), times
    assert len(re.findall("WARNING", told[True])) <= len(re.findall("WARNING", told[False])) + 1, told[True]


#: Names that libraries, formats, shells, formulas and Python itself have a use for.
NAMES = ["speed [m/s]", "pct, total", "a<b", "{x}", '"q"', "größe €", "1st", "two  words", "$a$ and $b_$", "self"]
SOURCES = {"classification": ("breast_cancer", "diagnosis"), "regression": ("diabetes", "progression")}


def with_odd_names(set_up: Callable[..., Project], framework: str, folder: Path) -> tuple[Project, tuple[str, str]]:
    """Give a project with a dataset whose columns have them, and what its conf says then."""
    project = clone(set_up(TASKS[framework], framework), folder / "bikes")
    dataset, target = SOURCES[TASKS[framework]]
    table = pd.read_csv(project.path / "data" / f"{dataset}.csv")
    columns = [name for name in table.columns if name != target]
    table.rename(columns=dict(zip(columns, NAMES, strict=False))).to_csv(project.path / "data/odd.csv", index=False)
    project.just("data-add", "data/odd.csv")
    return project, ("dataset=odd", f"target={target}")


@pytest.mark.slow
@pytest.mark.parametrize("framework", TASKS)
def test_columns_may_have_any_name(framework: str, set_up: Callable[..., Project], tmp_path: Path) -> None:
    project, settings = with_odd_names(set_up, framework, tmp_path)
    run = train(project, *settings)["run"]
    output = tmp_path / "predictions.csv"
    project.just("predict", run.info.run_id, "data/odd.csv", "-o", str(output))
    assert {*NAMES, "prediction"} <= {*pd.read_csv(output, nrows=1).columns}
    require_as_then(project, run, output, *settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "by_position", "by_name"),
    [
        ("lightgbm", "lgb.Dataset(*train,", "lgb.Dataset(named(train[0]), train[1],"),
        ("xgboost", "xgb.DMatrix(*train)", "xgb.DMatrix(named(train[0]), train[1])"),
    ],
)
def test_a_training_on_named_columns_says_why_a_name_is_refused(
    framework: str, by_position: str, by_name: str, set_up: Callable[..., Project], tmp_path: Path
) -> None:
    project = clone(set_up(TASKS[framework], framework), tmp_path / "bikes")
    module = project.path / "bikes" / "fit.py"
    source = module.read_text("utf-8")
    assert source.count(by_position) == 1
    named = "\n\ndef named(numbers):\n    import pandas as pd\n\n    return pd.DataFrame(numbers).add_prefix('a [<')\n"
    module.write_text(source.replace(by_position, by_name) + named, "utf-8")
    message = refused(project.just("train", check=False))
    assert "refuses the name of a column" in message and "X.to_numpy()" in message
