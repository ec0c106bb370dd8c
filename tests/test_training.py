"""One training, whatever it does to MLflow and whatever calls it: it gets its record, and the process is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, clone

pytestmark = pytest.mark.e2e

TRAININGS = Path(__file__).with_name("trainings.py")


def sampled(cases: dict[str, Any], often: int) -> list[Any]:
    """The names of cases; all but the first so many are of slow tests."""
    return [name if n < often else pytest.param(name, marks=pytest.mark.slow) for n, name in enumerate(cases)]


#: Lines of a training that does not leave MLflow as it found it.
UNRULY = {
    "ends its run and begins another": "mlflow.end_run(); mlflow.start_run(); mlflow.log_metric('accuracy', 3)",
    "a nested run, left open": "mlflow.start_run(nested=True); mlflow.log_metric('accuracy', 3)",
    "another experiment, left open": """
        mlflow.end_run()
        mlflow.set_experiment('other')
        mlflow.start_run()
        mlflow.start_run(nested=True)
        """,
    "another store, left open": """
        mlflow.set_tracking_uri('sqlite:///elsewhere.db')
        mlflow.set_experiment('there')
        mlflow.start_run(nested=True)
        """,
    "runs in threads": """
        threads = [threading.Thread(target=mlflow.start_run) for _ in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """,
    "deletes its run": "mlflow.delete_run(mlflow.active_run().info.run_id)",
    "deletes tags": """
        for tag in mlflow.get_run(mlflow.active_run().info.run_id).data.tags:
            if not tag.startswith('mlflow.'):
                mlflow.delete_tag(tag)
        """,
    "logs to the record": "mlflow.log_text('mine', 'record/mine.txt'); mlflow.log_text('mine', 'record/a/b.txt')",
    "closes the output": "import io; sys.stdout = io.StringIO(); sys.stdout.close()",
    "nothing": "",
    "ends its run": "mlflow.end_run()",
    "ends its run as failed": "mlflow.end_run('FAILED')",
    "ends its run and logs": "mlflow.end_run(); mlflow.log_metric('accuracy', 3)",
    "a nested run": "with mlflow.start_run(nested=True): mlflow.log_metric('accuracy', 3)",
    "another experiment": "mlflow.set_experiment('other')",
    "another store": "mlflow.set_tracking_uri('sqlite:///elsewhere.db')",
    "another store by the environment": "import os; os.environ['MLFLOW_TRACKING_URI'] = 'sqlite:///elsewhere.db'",
    "closes its run past the stack": "mlflow.MlflowClient().set_terminated(mlflow.active_run().info.run_id, 'KILLED')",
    "forges tags": "[mlflow.set_tag(f'repro.{name}', 'x') for name in ('commit', 'result', 'record', 'data')]",
}
#: Lines of a training that logs more than its result, and the metrics that count.
MEASURED: dict[str, tuple[str, dict[str, float]]] = {
    "no number, with a sign": (
        "return result(accuracy=np.float64('inf') - np.float64('inf'))",
        {"accuracy": float("nan")},
    ),
    "infinity": (
        "return result(a=float('inf'), b=-np.float32('inf'))",
        {"a": 1.7976931348623157e308, "b": -1.7976931348623157e308},
    ),
    "steps": ("for step in range(5): mlflow.log_metric('accuracy', 1 - step, step=step)", {"accuracy": 0.5}),
    "infinity at a later step": (
        "mlflow.log_metric('accuracy', 1, step=3); return result(accuracy=float('inf'))",
        {"accuracy": 1.7976931348623157e308},
    ),
    "in the background": (
        "for step in range(50): mlflow.log_metric('accuracy', step, step=step, synchronous=False)",
        {"accuracy": 0.5},
    ),
    "names that MLflow refuses": (
        "return result(**{'a (b)': 1, 'a [b]': 2, '../x': 3, '': 4, '%': 5, '..': 6, 'ä:b/c': 7, 'long' * 100: 8})",
        {"a _b_": 1, "a _b__": 2, "___x": 3, "_": 4, "__": 5, "___": 6, "ä:b/c": 7, ("long" * 100)[:240]: 8},
    ),
    "no number": ("return result(accuracy=float('nan'))", {"accuracy": float("nan")}),
    "other types": (
        "return result(a=np.float32(0.5), b=True, c=3, d=10**30, e=-0.0)",
        {"a": 0.5, "b": 1, "c": 3, "d": 1e30, "e": 0},
    ),
    "steps without end": ("mlflow.log_metric('accuracy', 9, step=2**63 - 1)", {"accuracy": 0.5}),
    "steps before the first": ("mlflow.log_metric('accuracy', 9, step=-7)", {"accuracy": 0.5}),
    "no number at a later step": ("mlflow.log_metric('accuracy', float('nan'), step=3)", {"accuracy": 0.5}),
    "a time to come": ("mlflow.log_metric('accuracy', 9, step=2, timestamp=10**14)", {"accuracy": 0.5}),
    "from threads": (
        """
        run_id = mlflow.active_run().info.run_id
        thread = threading.Thread(target=lambda: mlflow.log_metric('accuracy', 9, step=4, run_id=run_id))
        thread.start()
        thread.join()
        """,
        {"accuracy": 0.5},
    ),
}
#: Lines of a training that gives no result, and what its error says.
FAILING = {
    "a run beside its own": ("mlflow.start_run()", "nested=True"),
    "an end of the process": ("sys.exit(0)", "the training called sys.exit(0)"),
    "nothing given back": ("return None", "`train` gave back NoneType, not a Result"),
    "an error in a nested run": ("mlflow.start_run(nested=True); raise ValueError('mine')", "mine"),
    "an error in another store": (
        "mlflow.set_tracking_uri('sqlite:///elsewhere.db'); raise ValueError('mine')",
        "mine",
    ),
    "a metric that is no number": ("return result(accuracy='high')", "could not convert string to float"),
}


@dataclass
class Laboratory:
    """A project, and what came of trainings in it."""

    project: Project
    told: dict[str, Any]


def tell(project: Project, cases: dict[str, str] | None) -> Any:
    """Run trainings in a project, in one process, and give what came of each."""
    python = str(project.path / ".venv/bin/python")
    done = project.run(python, str(TRAININGS), json.dumps(cases), PYTHONPATH=str(project.path))
    return json.loads(done.stdout.partition("TOLD")[2])


@pytest.fixture(scope="module")
def laboratory(
    request: pytest.FixtureRequest, set_up: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory
) -> Laboratory:
    """The trainings of all tests that were chosen, done at once: their imports take longer than they do."""
    project = clone(set_up("classification"), tmp_path_factory.mktemp("laboratory") / "bikes")
    cases = UNRULY | {what: lines for what, (lines, _) in (MEASURED | FAILING).items()}
    chosen = [item.callspec.params.get("what") for item in request.session.items if hasattr(item, "callspec")]
    return Laboratory(project, tell(project, {what: cases[what] for what in chosen if what in cases}))


def assert_recorded(laboratory: Laboratory, what: str) -> Any:
    """Check that a training got its record, and give its run."""
    told = laboratory.told[what]
    assert "run" in told, told
    run = laboratory.project.client().get_run(told["run"])
    assert run.info.status == "FINISHED" and run.info.lifecycle_stage == "active"
    assert laboratory.project.client().get_experiment(run.info.experiment_id).name == "bikes"
    assert told["contradictions"] == []
    assert run.data.tags["repro.record"].startswith("sha256:") and "repro.commit" in run.data.tags
    assert run.data.params["conf.seed"] == "2", "a setting of this run only"
    assert not told["left open"]
    return run


@pytest.mark.parametrize("what", sampled(UNRULY, 5))
def test_a_run_gets_its_record_whatever_its_training_does_to_mlflow(laboratory: Laboratory, what: str) -> None:
    assert assert_recorded(laboratory, what).data.metrics == {"accuracy": 0.5}


@pytest.mark.parametrize("what", sampled(MEASURED, 3))
def test_the_metrics_of_the_result_count_whatever_was_logged_under_their_names(
    laboratory: Laboratory, what: str
) -> None:
    found = assert_recorded(laboratory, what).data.metrics
    expected = MEASURED[what][1]
    assert found.keys() == expected.keys()
    assert all(
        found[name] == value or (value != value and found[name] != found[name]) for name, value in expected.items()
    )


@pytest.mark.parametrize("what", sampled(FAILING, 3))
def test_a_training_without_a_result_is_failed_and_says_why(laboratory: Laboratory, what: str) -> None:
    told = laboratory.told[what]
    assert FAILING[what][1] in told.get("cause", told.get("raised", "")), told
    marked = next(line for line in told["said"].splitlines() if line.endswith("is marked FAILED"))
    assert laboratory.project.client().get_run(marked.split()[1]).info.status == "FAILED"
    assert not told["left open"]


def test_of_all_these_runs_none_is_left_going_on(laboratory: Laboratory) -> None:
    own = [
        run
        for run in laboratory.project.runs()
        if "repro.seed" in run.data.tags or run.data.tags.get("mlflow.parentRunId")
    ]
    assert len(own) > 10 and {run.info.status for run in own} <= {"FINISHED", "FAILED"}


#: A whole training of the project's, with something of all that a user may do.
UNRULY_TRAIN = """\
import sys

import mlflow
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from .reproducibility import Result


def train(settings, run):
    for step in range(3):
        mlflow.log_metric("accuracy", step, step=step)
    print("run deadbeefdeadbeefdeadbeefdeadbeef")
    print("x" * 3_000_000)
    mlflow.end_run()
    mlflow.set_experiment("other")
    mlflow.start_run()
    sys.stdout.close()
    inputs = pd.DataFrame({"x": run.rng("x").normal(size=9)})
    model = LinearRegression().fit(inputs, inputs.x)
    metrics = {"accuracy": 0.5, "none": np.float64("nan"), "most": np.inf, "least (all)": -np.inf}
    return Result(model, inputs, model.predict(inputs), metrics)
"""


@pytest.mark.slow
def test_an_unruly_training_is_verified_and_compared(laboratory: Laboratory, tmp_path: Path) -> None:
    project = laboratory.project
    (project.path / "bikes" / "train.py").write_text(UNRULY_TRAIN)
    done = project.just("verify")
    assert "identical: every stage" in done.stdout and "Traceback" not in done.stdout
    replay, original = [run for run in project.runs() if "repro.verdict" in run.data.tags]
    assert original.data.tags["repro.verified_by"] == replay.info.run_id
    assert original.data.metrics["accuracy"] == replay.data.metrics["accuracy"] == 0.5
    page = tmp_path / "page.html"
    done = project.just("compare", "last", replay.info.run_id[:10], "--html", str(page))
    assert "differs" not in done.stdout
    assert all(f">{value}</data>" in page.read_text("utf-8") for value in ("nan", "inf", "-inf"))


@pytest.mark.slow
def test_a_run_whose_names_are_folders_of_each_other_is_reproduced(
    set_up: Callable[[str], Project], tmp_path: Path
) -> None:
    project = clone(set_up("classification"), tmp_path / "bikes")
    file = project.path / "bikes" / "train.py"
    lines = 'mlflow.log_params({"a": 1, "a/b": 2})\n    mlflow.set_tags({"c": 1, "c/d": 2})\n    return Result('
    metrics = '{"accuracy": 0.5, "accuracy/val": 1}'
    text = UNRULY_TRAIN.partition("    for step")[0] + "    inputs" + UNRULY_TRAIN.partition("    inputs")[2]
    text = text.partition("    metrics =")[0] + f"    metrics = {metrics}\n    return Result("
    file.write_text(text.replace("return Result(", lines) + "model, inputs, model.predict(inputs), metrics)\n")
    assert "identical: every stage" in project.just("verify").stdout
    assert not project.git("status", "--porcelain", "mlruns")


def test_a_run_leaves_collector_and_signals_as_they_were_wherever_it_fails(
    set_up: Callable[[str], Project], tmp_path: Path
) -> None:
    project = clone(set_up("classification"), tmp_path / "bikes")
    told = tell(project, None)
    assert len(told) > 10 and {outcome["thread"] for outcome in told.values()} == {True, False}
    for what, outcome in told.items():
        assert (outcome["ended"] == "well") == (what == "nothing"), what
        assert outcome["as before"] and not outcome["left open"], what
    running = [run for run in project.runs() if run.info.status == "RUNNING"]
    assert len(running) == 1, "only where the store itself would not end it"
