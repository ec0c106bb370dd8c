"""Runs are found by few digits or `last`; their records and models are held to their digests, and promoted so."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import mlflow
import numpy as np
import pandas as pd
import pytest
from records import PARAMS, write_record
from sklearn.linear_model import LinearRegression

from harness import load

PACKAGE = load("common.project").PACKAGE


@dataclass
class Store:
    """A tracking store and what finds runs in it."""

    client: Any
    lookup: ModuleType
    mine: str
    other: str

    def run(self, run_id: str, experiment: str = "", status: str = "FINISHED", **tags: str) -> str:
        """Make a run of an ID that is chosen."""
        with mock.patch("uuid.uuid4", return_value=uuid.UUID(run_id)):
            run = self.client.create_run(experiment or self.mine, tags={"repro.seed": "1", **tags})
        assert run.info.run_id == run_id
        if status != "RUNNING":
            self.client.set_terminated(run_id, status)
        return run_id

    def find(self, name: str, **options: Any) -> str:
        return str(self.lookup.get_run(name, **options).info.run_id)


@pytest.fixture(scope="module", params=["sqlite", "files"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}" if request.param == "sqlite" else (folder / "mlruns").as_uri()
    variables = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_EXPERIMENT_NAME": "mine"}
    with mock.patch.dict(os.environ, variables):
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient()
        artifacts = (folder / "artifacts").as_uri()
        ids = [client.create_experiment(name, f"{artifacts}/{name}") for name in ("mine", "other")]
        yield Store(client, load("record.lookup"), *ids)
        mlflow.set_tracking_uri(None)


def digits(beginning: str) -> str:
    """A run ID that begins so."""
    return (beginning + uuid.uuid4().hex)[:32]


def test_a_beginning_names_a_run_of_the_project_first_then_of_the_store(store: Store) -> None:
    mine, twin = store.run(digits("aaaa1")), store.run(digits("aaaa1"), store.other)
    elsewhere = store.run(digits("bbbb2"), store.other)
    for name in (mine, mine[:5], mine[:31], mine.upper(), f" {mine[:6]}\n"):
        assert store.find(name) == mine
    assert store.find(twin) == twin, "a whole ID means itself, wherever it is"
    assert store.find("bbbb") == elsewhere


def test_a_beginning_of_several_runs_is_refused_with_their_list(store: Store) -> None:
    runs = [store.run(digits("cccc")), store.run(digits("cccc"))]
    with pytest.raises(Exception, match="several runs begin with cccc") as refusal:
        store.find("cccc")
    assert refusal.value.exit_code == 64 and all(run in refusal.value.fix for run in runs)
    assert store.find(runs[0]) == runs[0]


@pytest.mark.parametrize(
    ("name", "code"),
    [("abc", 64), ("dddd", 3), ("0" * 32, 3), ("lasted", 3), ("%", 3), ("' OR ''='", 3), ("../mine", 3), ("", 3)],
)
def test_what_names_no_run_is_refused(store: Store, name: str, code: int) -> None:
    with pytest.raises(Exception, match=r"there is no run|too short") as refusal:
        store.find(name)
    assert refusal.value.exit_code == code and refusal.value.fix


def test_a_deleted_run_is_not_found_or_named_as_deleted(store: Store) -> None:
    gone = store.run(digits("eeee"))
    store.client.delete_run(gone)
    with pytest.raises(Exception, match="there is no run"):
        store.find("eeee")
    with pytest.raises(Exception, match="was deleted") as refusal:
        store.find(gone)
    assert f"restore --run-id {gone}" in refusal.value.fix


def test_a_deleted_run_is_no_input_until_its_own_command_restores_it(store: Store, tmp_path: Path) -> None:
    inputs, makers = load("record.inputs"), load("record.makers")
    made_by = store.run(digits("ffff"))
    store.client.log_text(made_by, "weights", "weights.txt")
    given, place = inputs.resolve("weights", f"runs:/{made_by}/weights.txt", {}, tmp_path)
    assert place.read_text("utf-8") == "weights"
    store.client.delete_run(made_by)
    for address, standing in ((given.uri, {}), ("step:first/weights.txt", {"first": made_by})):
        with pytest.raises(Exception, match=f"run {made_by}, which was deleted") as refusal:
            inputs.resolve("weights", address, standing, tmp_path)
    assert makers.run_of(made_by, may_be_deleted=True).info.run_id == made_by, "who looks back still sees it"
    environment = os.environ | {"MLFLOW_ALLOW_FILE_STORE": "true"}
    subprocess.run(refusal.value.fix, shell=True, check=True, cwd="/", capture_output=True, env=environment)
    assert inputs.resolve("weights", given.uri, {}, tmp_path)[0] == given


def test_last_is_the_newest_training_that_finished_and_is_neither_replay_nor_child(store: Store) -> None:
    moments = iter(range(2_000_000_000_000, 2_000_000_001_000))

    def later(status: str = "FINISHED", experiment: str = "", **tags: str) -> str:
        time.sleep(0.002)
        run_id = store.run(digits(""), experiment, status, **tags)
        if "sqlite" in os.environ["MLFLOW_TRACKING_URI"]:
            from mlflow.store.tracking.dbmodels.models import SqlRun

            with store.client._tracking_client.store.ManagedSessionMaker() as session:
                session.query(SqlRun).filter_by(run_uuid=run_id).update({"start_time": next(moments)})
        return run_id

    first = later()
    later("FAILED")
    died = later("KILLED")
    later("RUNNING")
    later(experiment=store.other)
    later(**{"mlflow.parentRunId": first})
    later("KILLED", **{"mlflow.parentRunId": first})
    later(**{"repro.reproduces": first})
    stranger = store.client.create_run(store.mine)  # such as one that keeps data
    store.client.set_terminated(stranger.info.run_id)
    assert store.find("last") == first
    assert store.find("last", last=("KILLED", "FAILED")) == died
    replays = [later(**{"repro.reproduces": first}) for _ in range(101)] if store.mine == "1" else []
    assert store.find("last") == first, f"behind {len(replays)} replays"


def test_last_of_no_runs_is_refused(store: Store) -> None:
    with (
        mock.patch.dict(os.environ, {"MLFLOW_EXPERIMENT_NAME": "nothing yet"}),
        pytest.raises(Exception, match="no run"),
    ):
        store.find("last")


@pytest.mark.parametrize("name", ["last", "whole", "beginning"])
def test_a_resumed_run_goes_on_from_the_last_that_did_not_finish(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    checkpoint = load("training.checkpoint")
    monkeypatch.setattr(load("store.tracking"), "connect", lambda: store.mine)
    with mock.patch.dict(os.environ, {"MLFLOW_EXPERIMENT_NAME": digits("e")}):
        experiment = store.client.create_experiment(os.environ["MLFLOW_EXPERIMENT_NAME"], tmp_path.as_uri())
        stopped = store.run(digits(""), experiment, "KILLED")
        store.run(digits(""), experiment)
        with zipfile.ZipFile(tmp_path / "1.zip", "w") as archive:
            archive.writestr("conf.yaml", "seed: 3\n")
            archive.writestr("state.json", '{"count": 1, "stages": {"split": "x"}}')
            archive.writestr("weights", b"w")
        store.client.log_artifact(stopped, str(tmp_path / "1.zip"), "checkpoint")
        found = checkpoint.load({"whole": stopped, "beginning": stopped[:9]}.get(name, name))
    assert (found.settings, found.files, found.stages) == ({"seed": 3}, {"weights": b"w"}, {"split": "x"})
    assert found.tag == {"repro.resumes": stopped}


@pytest.fixture
def recorded(tmp_path: Path) -> SimpleNamespace:
    """A record and its run, and what contradicts the two."""
    integrity = load("record.integrity")
    reader = load("record.reader")
    tags = write_record(tmp_path / "record", {})
    run = SimpleNamespace(
        info=SimpleNamespace(run_id="r"),
        data=SimpleNamespace(tags=tags, params=dict(PARAMS), metrics={"accuracy": 0.5}),
    )
    folder = tmp_path / "record"
    return SimpleNamespace(
        folder=folder, run=run, wrong=lambda: integrity.contradictions(reader.read("r", folder, run))
    )


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Edit record.json."""
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))


def flip(recorded: Any) -> None:
    table = pd.read_parquet(recorded.folder / "predictions.parquet")
    table.iloc[2, 0] += 1
    table.to_parquet(recorded.folder / "predictions.parquet")


TAMPERED: dict[str, tuple[Callable[[Any], object], str]] = {
    "a value of the predictions": (flip, "the file predictions.parquet"),
    "a file that is gone": (
        lambda r: (r.folder / "predictions.parquet").unlink(),
        "the file predictions.parquet is 'gone'",
    ),
    "a file that was added": (lambda r: (r.folder / "more.txt").write_text(""), "the file more.txt"),
    "a file in a folder": (lambda r: shutil.copytree(r.folder, r.folder / "a"), "the file a/conf.yaml"),
    "the settings": (lambda r: (r.folder / "conf.yaml").write_text("seed: 1\nthreads: 2\n\n"), "the file conf.yaml"),
    "the lock": (lambda r: (r.folder / "constraints.txt").write_text("x"), "the lock"),
    "a patch": (lambda r: (r.folder / "uncommitted.patch").write_text("x"), "the uncommitted work"),
    "a stage before the model": (
        lambda r: change(r.folder / "record.json", lambda c: c | {"stages": {"split": "x", **c["stages"]}}),
        "the tag repro.record",
    ),
    "the kind of the model": (
        lambda r: change(r.folder / "record.json", lambda c: c | {"model": c["model"] | {"kind": "other"}}),
        "the tag repro.record",
    ),
    "the schema, as if it had no digests": (
        lambda r: change(r.folder / "record.json", lambda c: c | {"schema": 2}),
        "the tag repro.record",
    ),
    "a metric of the run": (lambda r: r.run.data.metrics.update(accuracy=0.6), "the metric accuracy is 0.6"),
    "a metric that is gone": (lambda r: r.run.data.metrics.clear(), "the metric accuracy is None"),
    "a tag that is no JSON": (lambda r: r.run.data.tags.update({"repro.data": "x"}), "the tag repro.data"),
    "a parameter": (lambda r: r.run.data.params.update({"conf.seed": "2"}), "the parameter conf.seed"),
    **{
        f"the tag {name}, changed": (lambda r, name=name: r.run.data.tags.update({name: '"x"'}), f"the tag {name}")
        for name in ("repro.commit", "repro.data", "repro.environment", "repro.record", "repro.result")
    },
    **{
        f"the tag {name}, deleted": (lambda r, name=name: r.run.data.tags.pop(name), f"the tag {name}")
        for name in ("repro.commit", "repro.data", "repro.environment", "repro.record", "repro.result")
    },
}


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_was_changed_since_is_noticed(recorded: Any, what: str) -> None:
    assert recorded.wrong() == []
    tamper, phrase = TAMPERED[what]
    tamper(recorded)
    assert any(phrase in wrong for wrong in recorded.wrong()), recorded.wrong()


def test_what_a_file_manager_leaves_is_no_change(recorded: Any) -> None:
    (recorded.folder / ".DS_Store").write_bytes(b"\0")
    assert recorded.wrong() == []


@pytest.mark.parametrize("schema", [1, 2])
def test_a_record_of_an_older_schema_is_held_to_what_it_has(recorded: Any, schema: int) -> None:
    change(recorded.folder / "record.json", lambda c: {k: v for k, v in c.items() if k != "files"} | {"schema": schema})
    del recorded.run.data.tags["repro.record"]
    assert recorded.wrong() == []
    flip(recorded)
    assert recorded.wrong() == [], "older records cannot tell"
    recorded.run.data.metrics["accuracy"] = 0.6
    with mock.patch.object(mlflow, "MlflowClient") as client:
        client.return_value.get_metric_history.return_value = [SimpleNamespace(step=0, timestamp=1, value=0.6)]
        assert recorded.wrong() != []
        # Its training logged a later step under that name: the harness's own value is there, at step 0.
        client.return_value.get_metric_history.return_value = [
            SimpleNamespace(step=0, timestamp=1, value=0.1),
            SimpleNamespace(step=4, timestamp=2, value=0.6),
            SimpleNamespace(step=0, timestamp=3, value=0.5),
        ]
        assert recorded.wrong() == []
    recorded.run.data.metrics["accuracy"] = 0.5
    change(recorded.folder / "record.json", lambda c: c | {"result": "x"})
    assert recorded.wrong() != []


def test_a_replay_that_an_older_harness_kept_is_its_own(recorded: Any) -> None:
    change(recorded.folder / "record.json", lambda c: {k: v for k, v in c.items() if k != "files"} | {"schema": 2})
    del recorded.run.data.tags["repro.record"], recorded.run.data.tags["repro.data"]
    assert recorded.wrong() != []
    recorded.run.data.tags["repro.reproduces"] = "o"
    assert recorded.wrong() == []


# Promotion: on one kind of store, since none of it depends on the kind.
SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True, scope="module")


#: Names that a run logged, of one kind each, and whether they could all be names of files.
NAMES = {
    ("loss", "accuracy", "val/loss", "train/loss", "conf.model.depth", "conf.model"): True,
    ("loss", "loss/val"): False,
    ("a", "a/b/c"): False,
    ("loss", "Loss"): False,
    ("ä" * 128,): False,
    ("a" * 240, "b/" * 120 + "b"): True,
}


@pytest.mark.parametrize("names", NAMES, ids=lambda names: " ".join(names)[:30])
def test_a_replay_has_a_database_only_where_names_could_not_be_those_of_files(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    replay = load("proof.replay")
    write_record(tmp_path / "record", {})
    plain = load("record.reader").read("r", tmp_path / "record")
    run = SimpleNamespace(data=SimpleNamespace(metrics=names, params=["loss"], tags=["loss/val"]))
    for record in (dataclasses.replace(plain, run=run), dataclasses.replace(plain, metrics=dict.fromkeys(names, 0.5))):
        assert replay.needs_database(replay.Recipe.of(record)) is not NAMES[names]
    settings = {"seed": 1, **dict.fromkeys(names, 1)}
    if "Loss" not in names:
        assert replay.needs_database(replay.Recipe(plain, plain, plain, plain, settings)) is not NAMES[names]


def test_a_record_that_is_downloaded_is_that_of_its_run(store: Store, tmp_path: Path) -> None:
    tags = write_record(tmp_path / "record", {})
    run_id = store.run(digits(""), status="RUNNING", **tags)
    store.client.log_artifacts(run_id, str(tmp_path / "record"), "record")
    store.client.log_metric(run_id, "accuracy", 0.5)
    for name, value in PARAMS.items():
        store.client.log_param(run_id, name, value)
    download = load("record.reader").download
    with pytest.raises(Exception, match="still going on"):
        download(store.client.get_run(run_id), tmp_path / "early")
    store.client.set_terminated(run_id)
    record = download(store.client.get_run(run_id), tmp_path / "found")
    assert record.metrics == record.run.data.metrics == {"accuracy": 0.5}
    store.client.set_tag(run_id, "repro.commit", "another")
    with pytest.raises(Exception, match="not that run's"):
        download(store.client.get_run(run_id), tmp_path / "changed")


@dataclass
class Shelf:
    """A run with a model, and a replay that proves it."""

    store: Store
    promote: Callable[..., str]
    original: str
    replay: str
    model: Path

    def record(self, run_id: str) -> Path:
        run = self.store.client.get_run(run_id)
        return Path(run.info.artifact_uri.removeprefix("file://")) / "record"

    def tag(self, run_id: str, **tags: str) -> None:
        for name, value in tags.items():
            self.store.client.set_tag(run_id, f"repro.{name}", value)


@pytest.fixture
def shelf(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Built anew for each case: what is promoted from it may be spoilt first."""
    if not hasattr(store, "model"):
        inputs = pd.DataFrame({"x": np.arange(4.0)})
        with mlflow.start_run(experiment_id=store.mine) as run:
            info = mlflow.sklearn.log_model(
                LinearRegression().fit(inputs, inputs.x),
                name="model",
                pip_requirements=[],
                serialization_format="skops",
            )
        store.model = info.model_uri, run.info.run_id
    uri, run_id = store.model
    location = store.client.get_logged_model(uri.removeprefix("models:/")).artifact_location
    model = Path(location.removeprefix("file://"))
    if not (kept := tmp_path.parent / f"kept-{run_id}").exists():
        shutil.copytree(model, kept)
    shutil.rmtree(model)
    shutil.copytree(kept, model)
    files = load("record.stored_model").files_of_model(uri)
    made = []
    for name, more in (("original", {"repro.model": uri}), ("replay", {})):
        tags = write_record(tmp_path / name / "record", files)
        made.append(store.run(digits(""), status="RUNNING", **tags, **more))
        store.client.log_artifacts(made[-1], str(tmp_path / name / "record"), "record")
        store.client.log_metric(made[-1], "accuracy", 0.5)
        for param, value in PARAMS.items():
            store.client.log_param(made[-1], param, value)
        store.client.set_terminated(made[-1])
    promote = load("serving.promote")
    monkeypatch.setattr(load("store.tracking"), "connect", lambda: store.mine)
    found = Shelf(store, promote.promote, *made, model)
    found.tag(found.original, verdict="identical", verified_by=found.replay)
    found.tag(found.replay, reproduces=found.original, verdict="identical")
    return found


def differ(shelf: Shelf) -> None:
    """A replay whose record says another result, though its tags say identical."""
    folder = shelf.record(shelf.replay)
    shutil.rmtree(folder)
    for name, value in write_record(folder, {}, accuracy=0.7).items():
        shelf.store.client.set_tag(shelf.replay, name, value)
    shelf.store.client.log_metric(shelf.replay, "accuracy", 0.7)


DOUBTS: dict[str, tuple[Callable[[Shelf, Any], object], str]] = {
    "a verdict that was never given": (
        lambda s: s.store.client.delete_tag(s.original, "repro.verdict"),
        "never tried",
    ),
    "another verdict": (lambda s: s.tag(s.original, verdict="different"), "different"),
    "a verdict without a replay": (
        lambda s: s.store.client.delete_tag(s.original, "repro.verified_by"),
        "not there",
    ),
    "a replay that is not there": (lambda s: s.tag(s.original, verified_by="0" * 32), "not there"),
    "a replay of another run": (lambda s: s.tag(s.replay, reproduces="0" * 32), "no finished reproduction"),
    "the run itself as its replay": (
        lambda s: s.tag(s.original, verified_by=s.original),
        "no finished reproduction",
    ),
    "a replay that failed": (
        lambda s: s.store.client.set_terminated(s.replay, "FAILED"),
        "no finished reproduction",
    ),
    "a replay that was deleted": (lambda s: s.store.client.delete_run(s.replay), "was deleted"),
    "a replay without a record": (lambda s: shutil.rmtree(s.record(s.replay)), "has no record"),
    "a replay whose record was changed": (
        lambda s: (s.record(s.replay) / "conf.yaml").write_text("seed: 1\nthreads: 2\n#\n"),
        "not that run's",
    ),
    "a replay that says otherwise": (differ, "is different"),
}


@SQLITE
def test_a_run_whose_replay_says_so_is_promoted(shelf: Shelf) -> None:
    version = shelf.promote(shelf.original[:12])
    found = shelf.store.client.get_model_version_by_alias(PACKAGE, "champion")
    assert str(found.version) == version and found.tags["repro.run"] == shelf.original
    assert "repro.forced" not in found.tags


@SQLITE
def test_a_model_that_must_be_downloaded_has_the_files_that_it_has(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = shelf.store.client.get_run(shelf.original).data.tags["repro.model"]
    near = load("record.stored_model").files_of_model(uri)
    monkeypatch.setattr(load("store.tracking"), "local_path", lambda location: None)
    assert load("record.stored_model").files_of_model(uri) == near
    assert shelf.promote(shelf.original)


@SQLITE
@pytest.mark.parametrize("what", DOUBTS)
def test_a_verdict_is_believed_only_with_its_replay(shelf: Shelf, what: str) -> None:
    spoil, phrase = DOUBTS[what]
    spoil(shelf)
    with pytest.raises(Exception, match="was not reproduced") as refusal:
        shelf.promote(shelf.original)
    assert phrase in refusal.value.cause and refusal.value.exit_code == 3, refusal.value.cause
    shelf.promote(shelf.original, force=True)
    assert shelf.store.client.get_model_version_by_alias(PACKAGE, "champion").tags["repro.forced"] == "true"


SPOILT: dict[str, Callable[[Shelf], object]] = {
    "another file of the model": lambda s: (s.model / "model.skops").write_bytes(b"another"),
    "a file more": lambda s: (s.model / "code.py").write_text("print('mine')"),
    "a file less": lambda s: (s.model / "requirements.txt").unlink(),
    "a flipped prediction": lambda s: flip(SimpleNamespace(folder=s.record(s.original))),
    "another record by tag": lambda s: s.tag(s.original, record="x"),
}


@SQLITE
@pytest.mark.parametrize("what", SPOILT)
def test_a_model_or_record_that_was_changed_is_never_promoted(shelf: Shelf, what: str) -> None:
    SPOILT[what](shelf)
    for force in (False, True):
        with pytest.raises(Exception, match=r"not the one that its record speaks of|not that run's") as refusal:
            shelf.promote(shelf.original, force=force)
        assert refusal.value.exit_code == 1
