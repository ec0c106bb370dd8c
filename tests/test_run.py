"""A rendered project's run, read back from the store: what it logged, where, and from which way to start it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Project, build_environment, clone
from test_interrupts import send, started, wait_for

pytestmark = pytest.mark.e2e

PLOTS = {
    "classification": {"confusion_matrix", "roc", "feature_importance"},
    "regression": {"predicted_against_true", "residuals", "feature_importance"},
}
METRICS = {"classification": {"accuracy", "f1", "roc_auc", "log_loss"}, "regression": {"r2", "rmse", "mae"}}
DATA = {"classification": "breast_cancer", "regression": "diabetes"}


@dataclass
class Ran:
    """A project with two runs: through `just run` with nothing built before, and through `just train`."""

    task: str
    project: Project
    run: Any
    trained: Any

    def artifacts(self, run: Any) -> Path:
        return local_path(run.info.artifact_uri)

    def record(self, run: Any) -> Any:
        return json.loads((self.artifacts(run) / "record" / "record.json").read_text("utf-8"))

    @property
    def model(self) -> Path:
        [output] = self.run.outputs.model_outputs
        uri = self.project.client().get_logged_model(output.model_id).artifact_location
        return local_path(uri)


@pytest.fixture(scope="module", params=["classification", pytest.param("regression", marks=pytest.mark.slow)])
def ran(request: pytest.FixtureRequest, set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("ran")
    project = clone(set_up(request.param), folder / "bikes")
    environments = folder / "environments"
    project.just("run", MLFLOW_ENV_ROOT=str(environments))
    assert len(list(environments.glob("mlflow-*/bin/python"))) == 1, "no environment was built"
    project.just("train")
    trained, run = project.runs()
    return Ran(request.param, project, run, trained)


@pytest.fixture(scope="module")
def classified(set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A classification project with one run, for tests that only read its model."""
    project = clone(set_up("classification"), tmp_path_factory.mktemp("classified") / "bikes")
    project.just("train")
    return project


def local_path(uri: str) -> Path:
    return Path(urllib.request.url2pathname(urlsplit(uri).path))


def sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def flat(conf: dict[str, Any], prefix: str = "conf") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in conf.items():
        found |= flat(value, f"{prefix}.{key}") if isinstance(value, dict) else {f"{prefix}.{key}": str(value)}
    return found


def test_a_cold_run_finishes_and_leaves_the_project_clean(ran: Ran) -> None:
    assert ran.run.info.status == ran.trained.info.status == "FINISHED"
    assert ran.run.info.end_time is not None
    assert ran.project.git("status", "--porcelain") == ""


def test_every_setting_is_a_parameter(ran: Ran) -> None:
    conf = yaml.safe_load((ran.project.path / "confs" / "train.yaml").read_text("utf-8"))
    assert ran.trained.data.params == flat(conf)
    assert {name: value for name, value in ran.run.data.params.items() if name.startswith("conf.")} == flat(conf)
    assert ran.run.data.params["config"] == "confs/train.yaml"
    assert ran.run.data.params["seed"] == "conf"


def test_tags_say_what_the_run_was_made_of(ran: Ran) -> None:
    file = ran.project.path / "data" / f"{DATA[ran.task]}.csv"
    for run in (ran.run, ran.trained):
        tags = run.data.tags
        assert tags["repro.seed"] == "42"
        assert tags["repro.commit"] == ran.project.git("rev-parse", "HEAD") == tags["mlflow.source.git.commit"]
        assert tags["repro.dirty"] == "false"
        assert tags["repro.environment"] == sha256(ran.project.path / "constraints.txt")
        assert json.loads(tags["repro.data"]) == {DATA[ran.task]: sha256(file)}
        assert tags["repro.result"] == ran.record(run)["result"]
    tags = ran.run.data.tags
    assert tags["mlflow.source.type"] == "PROJECT"
    assert tags["mlflow.source.name"].endswith(str(ran.project.path))
    assert tags["mlflow.project.entryPoint"] == "main"
    assert tags["mlflow.project.env"] == "uv"
    assert tags["mlflow.project.backend"] == "local"


def test_both_ways_to_run_give_the_same_result(ran: Ran) -> None:
    first, second = ran.record(ran.run), ran.record(ran.trained)
    assert first["stages"] == second["stages"]
    assert ran.run.data.tags["repro.result"] == ran.trained.data.tags["repro.result"]
    assert ran.run.data.metrics == ran.trained.data.metrics


def test_metrics_are_those_of_the_record_to_the_last_bit(ran: Ran) -> None:
    assert ran.run.data.metrics.keys() == METRICS[ran.task]
    assert {name: value.hex() for name, value in ran.run.data.metrics.items()} == ran.record(ran.run)["metrics"]
    assert all(np.isfinite(value) for value in ran.run.data.metrics.values())
    assert ran.run.data.metrics.get("accuracy", 1) > 0.9
    assert ran.run.data.metrics.get("r2", 1) > 0.3


def test_the_dataset_is_an_input_with_the_digest_of_the_whole_file(ran: Ran) -> None:
    for run in (ran.run, ran.trained):
        [data] = run.inputs.dataset_inputs
        file = ran.project.path / "data" / f"{DATA[ran.task]}.csv"
        tags = {tag.key: tag.value for tag in data.tags}
        assert data.dataset.name == DATA[ran.task]
        assert tags["repro.digest"] == sha256(file)
        assert tags["mlflow.data.context"] == "training"
        assert sha256(file).removeprefix("sha256:").startswith(data.dataset.digest)
        assert json.loads(data.dataset.source)["uri"] == file.as_uri()
        columns = [column["name"] for column in json.loads(data.dataset.schema)["mlflow_colspec"]]
        assert columns == list(pd.read_csv(file, nrows=1).columns)


def test_the_model_has_signature_example_and_hashed_requirements(ran: Ran) -> None:
    from mlflow.models import Model

    model = Model.load(str(ran.model))
    conf = yaml.safe_load((ran.project.path / "confs" / "train.yaml").read_text("utf-8"))
    columns = list(pd.read_csv(ran.project.path / "data" / f"{DATA[ran.task]}.csv", nrows=1).columns)
    assert model.signature is not None
    assert model.signature.inputs.input_names() == [name for name in columns if name != conf["target"]]
    assert model.signature.outputs is not None
    example = model.load_input_example(str(ran.model))
    assert list(example.columns) == model.signature.inputs.input_names()
    assert 0 < len(example) <= 5
    assert model.run_id == ran.run.info.run_id

    lock = (ran.project.path / "constraints.txt").read_text("utf-8")
    requirements = (ran.model / "requirements.txt").read_text("utf-8")
    pins = {line.split(" ")[0] for line in lock.splitlines() if "==" in line}
    assert {line.split(" ")[0] for line in requirements.splitlines() if "==" in line} == pins
    assert all("--hash=sha256:" in line for line in requirements.splitlines() if "==" in line)
    assert requirements.count("--hash=sha256:") == lock.count("--hash=sha256:")


def test_nothing_that_was_logged_is_a_pickle(ran: Ran) -> None:
    flavors = yaml.safe_load((ran.model / "MLmodel").read_text("utf-8"))["flavors"]
    assert flavors["sklearn"]["serialization_format"] == "skops"
    files = [file for root in (ran.model, ran.artifacts(ran.run)) for file in root.rglob("*") if file.is_file()]
    assert len(files) > 8
    contents = {str(file): file.read_bytes() for file in files}
    with zipfile.ZipFile(ran.model / "model.skops") as archive:
        members = {f"model.skops/{name}": archive.read(name) for name in archive.namelist()}
    assert any(name.endswith(".npy") for name in members)
    for name, content in (contents | members).items():
        assert not (content[:1] == b"\x80" and content[-1:] == b"."), f"{name} is a pickle"
        if name.endswith(".npy"):
            np.load(io.BytesIO(content), allow_pickle=False)  # an array of objects would be one inside


def test_plots_are_pictures_with_something_on_them(ran: Ran) -> None:
    from matplotlib.image import imread

    folder = ran.artifacts(ran.run) / "plots"
    assert {file.name for file in folder.iterdir()} == {f"{name}.png" for name in PLOTS[ran.task]}
    for file in folder.iterdir():
        pixels = imread(file, format="png")
        assert min(pixels.shape[:2]) >= 300, file.name
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10, f"{file.name} is empty"


def test_the_record_holds_all_that_repeating_takes(ran: Ran) -> None:
    record, folder = ran.record(ran.run), ran.artifacts(ran.run) / "record"
    conf = yaml.safe_load((ran.project.path / "confs" / "train.yaml").read_text("utf-8"))
    manifest = yaml.safe_load((ran.project.path / "data" / "datasets.yaml").read_text("utf-8"))
    assert record["schema"] == 3
    assert record["code"]["commit"] == ran.project.git("rev-parse", "HEAD")
    assert record["code"]["dirty"] == "false"
    assert record["seeded"] == {"random": 42, "numpy.random": 42}
    assert record["data"] == {DATA[ran.task]: manifest[DATA[ran.task]]}
    assert record["environment"]["lock"] == sha256(ran.project.path / "constraints.txt")
    assert record["launch"]["PYTHONHASHSEED"] == "42"
    assert {value for name, value in record["launch"].items() if name.endswith("_THREADS")} == {"1"}
    assert {f"data {DATA[ran.task]}", "split", "weights", "predictions", "metrics"} <= record["stages"].keys()
    assert yaml.safe_load((folder / "conf.yaml").read_text("utf-8")) == conf
    assert (folder / "constraints.txt").read_bytes() == (ran.project.path / "constraints.txt").read_bytes()


def test_bare_mlflow_run_works_with_its_parameters(project: Project) -> None:
    mlflow = str(project.path / ".venv" / "bin" / "mlflow")
    project.run(mlflow, "run", ".", "--env-manager", "uv")
    project.run(
        mlflow, "run", ".", "--env-manager", "uv", "-P", "seed=7", "-P", "set=model.max_depth=3 drop=[mean_area]"
    )
    project.just("train", "--set", "seed=7", "--set", "model.max_depth=3", "--set", "drop=[mean_area]")
    trained, changed, plain = project.runs()
    assert {run.info.status for run in (plain, changed, trained)} == {"FINISHED"}
    assert plain.data.params["conf.seed"] == "42"
    assert changed.data.params["conf.seed"] == changed.data.tags["repro.seed"] == "7"
    assert changed.data.params["conf.model.max_depth"] == "3"
    assert changed.data.params["conf.drop"] == "['mean_area']"
    assert changed.data.tags["repro.result"] == trained.data.tags["repro.result"] != plain.data.tags["repro.result"]


def test_just_run_overrides_any_setting(project: Project) -> None:
    (project.path / "confs" / "other.yaml").write_text((project.path / "confs" / "train.yaml").read_text("utf-8"))
    overrides = ("model.max_depth=null", "drop=[mean_area, 'worst_area']", "test_fraction=0.5")
    project.just(
        "run", "--seed", "0", "-P", "config=confs/other.yaml", *[part for o in overrides for part in ("--set", o)]
    )
    [run] = project.runs()
    assert run.data.params["conf.seed"] == "0"
    assert run.data.params["conf.model.max_depth"] == "None"
    assert run.data.params["conf.drop"] == "['mean_area', 'worst_area']"
    assert run.data.params["conf.test_fraction"] == "0.5"
    assert run.data.params["config"] == "confs/other.yaml"
    assert run.data.tags["repro.dirty"] == "true"


def test_mlflow_runs_a_pushed_project_from_its_git_address(project: Project, tmp_path: Path) -> None:
    served = tmp_path / "served"
    project.run("git", "clone", "--quiet", "--bare", str(project.path), str(served / "bikes.git"))
    (tmp_path / "temporary").mkdir()
    port = free_port()
    daemon = ["git", "daemon", "--export-all", f"--base-path={served}", "--listen=127.0.0.1", f"--port={port}"]
    with started(project, *daemon, str(served)):
        wait_for(lambda: listens("127.0.0.1", port), "the git daemon answers", 20)
        project.run(
            *(str(project.path / ".venv" / "bin" / "mlflow"), "run", f"git://127.0.0.1:{port}/bikes.git"),
            *("--env-manager", "uv", "-P", "seed=3"),
            MLFLOW_TRACKING_URI=f"sqlite:///{project.path / 'mlflow.db'}",
            TMPDIR=str(tmp_path / "temporary"),
        )
    project.just("train", "--set", "seed=3")
    here, there = project.runs()
    assert there.info.status == "FINISHED"
    assert there.data.tags["repro.commit"] == project.git("rev-parse", "HEAD")
    assert there.data.tags["repro.dirty"] == "false"
    assert there.data.tags["mlflow.source.name"] == f"git://127.0.0.1:{port}/bikes.git"
    assert there.data.tags["repro.result"] == here.data.tags["repro.result"]


def test_from_a_folder_below_runs_go_to_the_project_store(project: Project) -> None:
    below = project.path / "notebooks" / "deep"
    below.mkdir(parents=True)
    (below / "mine.yaml").write_text((project.path / "confs" / "train.yaml").read_text("utf-8"))
    project.just("train", "--config", "mine.yaml", "--set", "seed=5", cwd=below)
    [run] = project.runs()
    assert run.info.status == "FINISHED"
    assert run.data.params["conf.seed"] == "5"
    assert project.client().get_experiment(run.info.experiment_id).name == "bikes"
    assert [path.name for path in below.iterdir()] == ["mine.yaml"]
    assert (project.path / "mlruns" / run.info.run_id / "artifacts" / "record").is_dir()


@pytest.mark.parametrize("recipe", ["train", "run"])
def test_a_training_that_raises_is_marked_failed(project: Project, recipe: str) -> None:
    train = project.path / "bikes" / "train.py"
    train.write_text("def train(settings, run):\n    raise RuntimeError('the loss is not finite')\n")
    done = project.just(recipe, check=False)
    assert done.returncode != 0
    assert "the loss is not finite" in done.stdout
    [run] = project.runs()
    assert run.info.status == "FAILED"
    assert run.data.params["conf.seed"] == "42"
    assert run.data.tags["repro.dirty"] == "true"
    assert "repro.result" not in run.data.tags


@pytest.mark.slow
def test_predictions_are_those_of_the_model(classified: Project, tmp_path: Path) -> None:
    [run] = classified.runs()
    source = classified.path / "data" / "breast_cancer.csv"
    classified.just("predict", run.info.run_id, "data/breast_cancer.csv", "-o", str(tmp_path / "inside.csv"))
    outside = tmp_path / "given" / "outside.csv"
    outside.parent.mkdir()
    shutil.copyfile(source, outside)
    classified.just("predict", run.info.run_id, str(outside), "-o", str(tmp_path / "outside.csv"))
    classified.just("predict", run.info.run_id, "breast_cancer.csv", "-o", "../of-data.csv", cwd=source.parent)

    table = pd.read_csv(tmp_path / "inside.csv")
    given = pd.read_csv(source)
    pd.testing.assert_frame_equal(table[given.columns], given)
    probabilities = table[["probability benign", "probability malignant"]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (table["prediction"] == table["diagnosis"]).mean() > 0.95
    assert (tmp_path / "outside.csv").read_bytes() == (tmp_path / "inside.csv").read_bytes()
    assert (classified.path / "of-data.csv").read_bytes() == (tmp_path / "inside.csv").read_bytes()
    (classified.path / "of-data.csv").unlink()
    # The rows that were held out get the very predictions that the run was judged by.
    accuracy = run.data.metrics["accuracy"]
    wrong = (table["prediction"] != table["diagnosis"]).sum()
    assert wrong >= round((1 - accuracy) * round(len(given) * 0.25))


@pytest.mark.slow
def test_a_file_that_the_model_cannot_take_is_refused_by_name(classified: Project, tmp_path: Path) -> None:
    [run] = classified.runs()
    table = pd.read_csv(classified.path / "data" / "breast_cancer.csv")
    table.drop(columns=["mean_area", "worst_area"]).to_csv(tmp_path / "missing.csv", index=False)
    table.astype({"mean_area": object}).assign(mean_area="large").to_csv(tmp_path / "text.csv", index=False)
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    expected = {
        "missing.csv": (3, "mean_area, worst_area"),
        "text.csv": (3, "large"),
        "table.xlsx": (64, "neither .csv nor .parquet"),
        "absent.csv": (64, "does not exist"),
    }
    for name, (code, words) in expected.items():
        done = classified.just(
            "predict", run.info.run_id, str(tmp_path / name), "-o", str(tmp_path / "out.csv"), check=False
        )
        assert (done.returncode, words in done.stdout) == (code, True), done.stdout
        assert "Traceback" not in done.stdout
        assert not (tmp_path / "out.csv").exists()


def test_a_run_that_is_not_there_is_refused(classified: Project) -> None:
    done = classified.just("predict", "0" * 32, "data/breast_cancer.csv", check=False)
    assert done.returncode == 3
    assert "0" * 32 in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_the_champion_is_the_version_under_that_alias(classified: Project, tmp_path: Path) -> None:
    [run] = classified.runs()
    done = classified.just("predict", "champion", "data/breast_cancer.csv", check=False)
    assert done.returncode == 3
    assert "champion" in done.stdout
    [output] = run.outputs.model_outputs
    register = (
        "import mlflow\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        f"version = mlflow.register_model('models:/{output.model_id}', 'bikes')\n"
        "mlflow.MlflowClient().set_registered_model_alias('bikes', 'champion', version.version)\n"
    )
    classified.run(str(classified.path / ".venv" / "bin" / "python"), "-c", register)
    files = tmp_path / "champion.csv", tmp_path / "run.csv"
    classified.just("predict", "champion", "data/breast_cancer.csv", "-o", str(files[0]))
    classified.just("predict", run.info.run_id, "data/breast_cancer.csv", "-o", str(files[1]))
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_a_pickled_model_is_loaded_only_when_told_to(classified: Project, tmp_path: Path) -> None:
    script = tmp_path / "log_pickle.py"
    script.write_text(
        "import mlflow, pandas as pd\n"
        "from sklearn.dummy import DummyClassifier\n"
        "table = pd.read_csv('data/breast_cancer.csv')\n"
        "X, y = table.drop(columns='diagnosis'), table['diagnosis']\n"
        "model = DummyClassifier().fit(X, y)\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "mlflow.set_experiment('pickles')\n"
        "with mlflow.start_run() as run:\n"
        "    mlflow.sklearn.log_model(model, name='model', serialization_format='cloudpickle',\n"
        "        input_example=X.head(2), pip_requirements=[])\n"
        "print('run', run.info.run_id)\n"
    )
    python = str(classified.path / ".venv" / "bin" / "python")
    run_id = classified.run(python, str(script)).stdout.split()[-1]
    classified.client().set_terminated(run_id)
    command = ("predict", run_id, "data/breast_cancer.csv", "-o", str(tmp_path / "out.csv"))
    refused = classified.just(*command, check=False)
    assert refused.returncode == 3
    assert "pickle" in refused.stdout
    assert "--allow-unsafe" in refused.stdout
    assert not (tmp_path / "out.csv").exists()
    classified.just(*command, "--allow-unsafe")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 569
    classified.client().delete_run(run_id)


@pytest.mark.slow
@pytest.mark.e2e
def test_the_model_of_a_run_is_the_one_that_train_gave_back_and_brings_no_code(project: Project) -> None:
    train = project.path / "bikes" / "train.py"
    others = (
        "    import mlflow\n"
        "    from sklearn.dummy import DummyClassifier\n"
        "    for name in 'abc':\n"
        "        dummy = DummyClassifier().fit(X, y)\n"
        "        mlflow.sklearn.log_model(dummy, name=name, serialization_format='skops', pip_requirements=[])\n"
        "\n    def fit("
    )
    train.write_text(train.read_text().replace("    def fit(", others))
    project.just("train", "--set", "model.n_estimators=20")
    run = project.runs()[0]
    project.just("predict", run.info.run_id, "data/breast_cancer.csv", "-o", "out.csv")
    assert pd.read_csv(project.path / "out.csv")["prediction"].nunique() == 2  # a dummy knows one class only

    model = project.client().get_logged_model(run.data.tags["repro.model"].removeprefix("models:/"))
    [described] = Path(model.artifact_location.removeprefix("file://")).glob("MLmodel")
    content = yaml.safe_load(described.read_text())
    content["flavors"]["python_function"]["loader_module"] = "this"
    described.write_text(yaml.safe_dump(content))
    refused = project.just("predict", run.info.run_id, "data/breast_cancer.csv", "-o", "out2.csv", check=False)
    assert refused.returncode == 3
    assert "code of its own" in refused.stdout
    assert "Beautiful is better" not in refused.stdout


@pytest.mark.slow
def test_the_model_predicts_the_same_in_a_fresh_environment(ran: Ran, tmp_path: Path) -> None:
    [output] = ran.run.outputs.model_outputs
    conf = yaml.safe_load((ran.project.path / "confs" / "train.yaml").read_text("utf-8"))
    source = ran.project.path / "data" / f"{DATA[ran.task]}.csv"
    ran.project.just("predict", ran.run.info.run_id, str(source), "-o", str(tmp_path / "here.csv"))
    pd.read_csv(source).drop(columns=conf["target"]).astype("float64").to_csv(tmp_path / "in.csv", index=False)
    ran.project.run(
        *(str(ran.project.path / ".venv" / "bin" / "mlflow"), "models", "predict", "--env-manager", "uv"),
        *("-m", f"models:/{output.model_id}", "-i", str(tmp_path / "in.csv"), "-t", "csv"),
        *("-o", str(tmp_path / "there.json")),
        MLFLOW_TRACKING_URI=f"sqlite:///{ran.project.path / 'mlflow.db'}",
        MLFLOW_ENV_ROOT=str(tmp_path / "environments"),
    )
    there = json.loads((tmp_path / "there.json").read_text("utf-8"))["predictions"]
    assert there == pd.read_csv(tmp_path / "here.csv")["prediction"].tolist()


def listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((host, port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_ui_serves_the_runs_on_this_machine_only(classified: Project) -> None:
    [run] = classified.runs()
    port = free_port()
    with started(classified, "just", "ui", "--port", str(port)) as process:
        wait_for(lambda: process.poll() is not None or listens("127.0.0.1", port), "the UI answers")
        assert process.poll() is None, process.communicate()[0]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search",
            data=json.dumps({"experiment_ids": [run.info.experiment_id]}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)["runs"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
            assert b"<title>MLflow</title>" in page.read()
        # All of 127.0.0.0/8 is this machine: a server that listens everywhere would answer here too.
        assert not listens("127.0.0.2", port)
        os.killpg(process.pid, 2)
        told = process.communicate(timeout=60)[0]
    assert told.splitlines() == [f"MLflow's UI: http://127.0.0.1:{port}   (Ctrl-C ends it)", "interrupted"]
    assert [entry["info"]["run_id"] for entry in found] == [run.info.run_id]
    assert process.returncode == 130


def test_the_ui_ends_with_the_command_that_started_it(classified: Project) -> None:
    port = free_port()
    with started(classified, "just", "ui", "--port", str(port)) as process:
        wait_for(lambda: process.poll() is not None or listens("127.0.0.1", port), "the UI answers")
        send(process, "SIGTERM to just")
        process.communicate(timeout=60)
    wait_for(lambda: not listens("127.0.0.1", port), "the server is gone")


def environments(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("mlflow-*") if path.is_dir()}


def change_lock(project: Project, hashes: int) -> None:
    """Another lock of the same packages: the last hash stands there more often."""
    lock = project.path / "constraints.txt"
    lines = lock.read_text("utf-8").splitlines()
    lines[-1] = " \\\n".join([lines[-1]] * (hashes + 1))
    lock.write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_clean_envs_deletes_only_what_no_project_needs(project: Project, tmp_path: Path) -> None:
    root = tmp_path / "environments"
    stranger = root / f"mlflow-{'0' * 40}"
    stranger.mkdir(parents=True)
    other = clone(project, tmp_path / "other")
    for user in (project, other):
        build_environment(user, root)
    [shared] = environments(root) - {stranger.name}

    assert "Nothing to delete" in project.just("clean-envs", "--yes", MLFLOW_ENV_ROOT=str(root)).stdout
    change_lock(project, 1)
    assert "Nothing to delete" in project.just("clean-envs", "--yes", MLFLOW_ENV_ROOT=str(root)).stdout
    assert environments(root) == {shared, stranger.name}, "the other project still needs it"

    change_lock(other, 2)
    unasked = project.just("clean-envs", check=False, MLFLOW_ENV_ROOT=str(root))
    assert "MB" in unasked.stdout
    assert environments(root) == {shared, stranger.name}, "deleted without a yes"
    done = project.just("clean-envs", "--yes", MLFLOW_ENV_ROOT=str(root))
    assert str(root / shared) in done.stdout
    assert environments(root) == {stranger.name}
