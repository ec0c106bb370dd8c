"""Any tracked run, executed again from its ID alone: proven identical, or told why not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, clone, refused
from test_interrupts import members, started, wait_for
from test_locks import pins
from test_run import local_path

pytestmark = pytest.mark.e2e

#: Enough of a model to be recorded, so that a run costs its imports only.
SMALL = ("--set", "model.n_estimators=5")


def train(project: Project, *arguments: str, **variables: str) -> str:
    """Train, and give the run's ID."""
    done = project.just("train", *SMALL, *arguments, **variables)
    return next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("run "))


def tags(project: Project, run_id: str) -> dict[str, str]:
    return dict(project.client().get_run(run_id).data.tags)


def artifact(project: Project, run_id: str, path: str) -> Path:
    return local_path(project.client().get_run(run_id).info.artifact_uri) / path


def record(project: Project, run_id: str) -> Any:
    return json.loads(artifact(project, run_id, "record/record.json").read_text("utf-8"))


def untouchable(project: Project) -> dict[str, object]:
    """All that a reproduction must leave as it is."""
    git = project.path / ".git"
    with closing(sqlite3.connect(project.path / "mlflow.db")) as store:
        schema = store.execute("SELECT sql FROM sqlite_master ORDER BY sql").fetchall()
    return {
        "index": (git / "index").read_bytes(),
        "HEAD": (git / "HEAD").read_bytes(),
        "objects": sorted(path.name for path in (git / "objects").rglob("*")),
        "config": (git / "config").read_bytes(),
        "worktrees": project.git("worktree", "list"),
        "refs": project.git("for-each-ref"),
        "status": project.git("status", "--porcelain=v2"),
        "files": {path: path.read_bytes() for path in (project.path / "bikes").rglob("*.py")},
        "schema": schema,
    }


def scratch(temporary: Path) -> list[Path]:
    """What reproductions left in a folder for temporary files."""
    return list(temporary.glob("bikes-*-replay-*"))


@pytest.fixture(scope="module")
def nasty(set_up: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """A project with every kind of uncommitted work, and a run of it."""
    project = clone(set_up("classification"), tmp_path_factory.mktemp("nasty") / "bikes")
    path, package = project.path, project.path / "bikes"
    (path / "kept.txt").write_text("one\ntwo\n")
    (path / "gone.txt").write_text("gone\n")
    (path / "old name.txt").write_text("a file that is moved\n" * 5)
    (path / "picture.bin").write_bytes(bytes(range(256)) * 4)
    (path / "windows.csv").write_bytes(b"a,b\r\n1,2\r\n")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", "--message", "Files")
    (path / "kept.txt").write_text("one\nstaged\n")
    project.git("add", "kept.txt")
    (path / "kept.txt").write_text("one\nstaged\nand not staged\n")
    (path / "gone.txt").unlink()
    project.git("mv", "old name.txt", "new name.txt")
    (path / "picture.bin").write_bytes(bytes(reversed(range(256))) * 4)
    (path / "windows.csv").write_bytes(b"a,b\r\n1,3\r\n")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "link").symlink_to("kept.txt")
    (path / "ünïcödé ☃.txt").write_text("snow\n", "utf-8")
    (path / "no newline.txt").write_text("no newline")
    (path / "planned.txt").write_text("intended\n")
    project.git("add", "--intent-to-add", "planned.txt")
    (package / "helper.py").write_text("FACTOR = 2\n")
    source = (package / "train.py").read_text("utf-8")
    source = source.replace("from . import checks", "from . import helper\nfrom . import checks")
    source = source.replace('    run.stage("split"', '    run.stage("factor", helper.FACTOR)\n    run.stage("split"')
    (package / "train.py").write_text(source, "utf-8")
    yield project, train(project)


def test_uncommitted_work_of_every_kind_is_restored_to_the_same_tree(
    nasty: tuple[Project, str], tmp_path: Path
) -> None:
    project, run_id = nasty
    code = record(project, run_id)["code"]
    assert code["dirty"] == "true" and code["left_out"] == []
    # What git itself says of the tree, in an index of its own.
    variables = {"GIT_INDEX_FILE": str(tmp_path / "index")}
    project.run("git", "read-tree", "HEAD", **variables)
    project.run("git", "add", "--all", **variables)
    expected = project.run("git", "write-tree", **variables).stdout.strip()
    assert code["tree"] == expected

    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from bikes.reproducibility.common import digest\n"
        "from bikes.reproducibility.source import checkout\n"
        "code = json.load(open(sys.argv[1] + '/record.json'))['code']\n"
        "patch = Path(sys.argv[1], 'uncommitted.patch').read_bytes()\n"
        "print(checkout.restore(code, {digest.of_bytes(patch): patch}, Path(sys.argv[2])))\n"
    )
    folder = artifact(project, run_id, "record")
    project.run(str(project.path / ".venv/bin/python"), "-c", script, str(folder), str(tmp_path / "restored"))
    restored = Project(tmp_path / "restored")
    assert restored.git("write-tree") == expected
    names = (
        "kept.txt",
        "new name.txt",
        "picture.bin",
        "ünïcödé ☃.txt",
        "no newline.txt",
        "planned.txt",
        "bikes/helper.py",
    )
    for name in names:
        assert (restored.path / name).read_bytes() == (project.path / name).read_bytes(), name
    assert not (restored.path / "gone.txt").exists() and not (restored.path / "old name.txt").exists()
    assert os.access(restored.path / "run.sh", os.X_OK) and (restored.path / "link").is_symlink()


@pytest.mark.slow
def test_a_run_is_identical_after_its_untracked_module_was_deleted(nasty: tuple[Project, str], tmp_path: Path) -> None:
    project, run_id = nasty
    helper = project.path / "bikes" / "helper.py"
    kept = helper.read_bytes()
    helper.unlink()
    before = untouchable(project)
    done = project.just("reproduce", run_id, TMPDIR=str(tmp_path))
    helper.write_bytes(kept)
    assert "identical" in done.stdout
    helper.unlink()
    assert untouchable(project) == before
    helper.write_bytes(kept)
    assert scratch(tmp_path) == []
    original = tags(project, run_id)
    assert original["repro.verdict"] == "identical"
    assert original["repro.verified_at"].startswith("20")
    replayed = project.client().get_run(original["repro.verified_by"])
    assert replayed.info.status == "FINISHED"
    assert replayed.data.tags["repro.reproduces"] == run_id
    assert replayed.data.metrics == project.client().get_run(run_id).data.metrics
    page = artifact(project, replayed.info.run_id, "report.html").read_text("utf-8")
    assert "<h1>identical</h1>" in page and page.count("data:image/svg+xml;base64,") == 1
    assert "src=" not in page.replace('src="data:', "") and "href=" not in page  # nothing from elsewhere
    found = project.client().search_runs([replayed.info.experiment_id], "tags.\"repro.verdict\" = 'identical'")
    assert {run.info.run_id for run in found} == {run_id, replayed.info.run_id}
    listed = project.just("runs", "--verdict", "identical").stdout
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
        [found[:8], "identical"] for found in (replayed.info.run_id, run_id)
    ]
    assert f"{record(project, run_id)['result'][7:15]}  {record(project, run_id)['code']['commit'][:8]}+" in listed


def test_a_dry_run_says_what_would_be_done_and_does_nothing(nasty: tuple[Project, str]) -> None:
    project, run_id = nasty
    before, count = untouchable(project), len(project.runs())
    said = project.just("reproduce", run_id, "--dry-run").stdout
    commit = record(project, run_id)["code"]["commit"]
    assert commit in said and "uncommitted" in said and "breast_cancer.csv" in said and "mlflow-" in said
    assert untouchable(project) == before and len(project.runs()) == count


def test_secrets_and_large_files_are_not_uploaded_and_the_run_says_so(project: Project) -> None:
    (project.path / "prod.key").write_text("-----BEGIN RSA PRIVATE KEY-----\nabc\n")
    (project.path / "settings.txt").write_text("password = 'correct-horse-battery'\n")
    with (project.path / "huge.bin").open("wb") as file:
        file.truncate(25_000_000)
    ignored = project.path / "bikes" / "generated.py"
    ignored.write_text("VALUE = 3\n")
    (project.path / ".git" / "info" / "exclude").write_text("generated.py\n")
    module = project.path / "bikes" / "model.py"
    module.write_text("from . import generated\n" + module.read_text("utf-8"), "utf-8")
    done = project.just("train", *SMALL)
    [run] = project.runs()
    run_id = run.info.run_id
    left_out = {entry["path"]: entry["why"] for entry in record(project, run_id)["code"]["left_out"]}
    assert left_out.keys() == {"prod.key", "settings.txt", "huge.bin", "bikes/generated.py"}
    assert all(f"notice: {name} is not in the record" in done.stdout for name in left_out)
    assert run.data.tags["repro.reproducible"] == "here"
    uploaded = b"".join(file.read_bytes() for file in artifact(project, run_id, "record").iterdir())
    assert b"PRIVATE KEY" not in uploaded and b"correct-horse" not in uploaded and b"VALUE = 3" not in uploaded

    assert "identical" in project.just("reproduce", run_id).stdout  # the files are still here
    ignored.write_text("VALUE = 4\n")
    message = refused(project.just("reproduce", run_id, check=False), code=2)
    assert "bikes/generated.py" in message
    assert tags(project, run_id)["repro.verdict"] == "identical"  # that it cannot be tried undoes no proof


@pytest.mark.slow
def test_what_is_missing_is_named_with_exit_code_2(project: Project, tmp_path: Path) -> None:
    run_id = train(project)
    record_folder = artifact(project, run_id, "record")
    aside = tmp_path / "aside"

    def expect(*words: str) -> None:
        message = refused(project.just("reproduce", run_id, check=False), code=2)
        assert all(word in message for word in words), message

    for name in ("constraints.txt", "conf.yaml", "record.json"):
        (record_folder / name).rename(aside)
        expect(name, "backup")
        aside.rename(record_folder / name)

    # Data: neither here, nor in the commit as it was, nor stored, nor at its source.
    table = project.path / "data" / "breast_cancer.csv"
    kept = table.read_bytes()
    table.write_bytes(kept.replace(b"\n", b"\r\n", 1))
    project.just(
        "data-add", "data/breast_cancer.csv", "--name", "breast_cancer", "--source", "http://127.0.0.1:9/x.csv"
    )
    uncommitted = train(project)
    patch = artifact(project, uncommitted, "record/uncommitted.patch")
    assert patch.stat().st_size > 1000
    message = refused(project.just("reproduce", "0" * 32, check=False))
    assert "just runs" in message

    # The commit: in no clone and at no remote.
    project.git("checkout", "--quiet", "--", ".")
    (project.path / "note.txt").write_text("only here\n")
    project.git("add", "note.txt")
    project.git("commit", "--quiet", "--no-verify", "--message", "Lost")
    lost = train(project)
    project.git("reset", "--quiet", "--hard", "HEAD~1")
    project.git("reflog", "expire", "--expire=now", "--all")
    project.git("gc", "--quiet", "--prune=now")
    run_id = lost
    expect(record(project, lost)["code"]["commit"], "git push")
    assert tags(project, lost)["repro.verdict"] == "not reproducible"


@pytest.mark.slow
def test_data_that_is_nowhere_is_named_with_exit_code_2(project: Project) -> None:
    """A file that git does not hold, replaced since."""
    (project.path / ".git" / "info" / "exclude").write_text("/data/mine.csv\n")
    table = project.path / "data" / "mine.csv"
    shutil.copyfile(project.path / "data" / "breast_cancer.csv", table)
    project.just("data-add", "data/mine.csv", "--name", "mine")
    run_id = train(project, "--set", "dataset=mine")
    table.unlink()
    # git does not have it, but `data-add` left a copy in the store.
    assert "identical" in project.just("reproduce", run_id).stdout
    client = project.client()
    for run in project.runs():
        if "repro.stored_data" in run.data.tags:
            client.delete_run(run.info.run_id)
    message = refused(project.just("reproduce", run_id, check=False), code=2)
    assert "'mine'" in message and "data/mine.csv" in message


@pytest.mark.slow
def test_a_record_that_was_changed_by_hand_is_different(project: Project) -> None:
    run_id = train(project)
    file = artifact(project, run_id, "record/record.json")
    whole = file.read_text("utf-8")
    content = json.loads(whole)
    forgeries = {
        "the metric accuracy": {**content, "metrics": {**content["metrics"], "accuracy": (1.0).hex()}},
        "the digest of the result": {**content, "stages": {**content["stages"], "weights": "sha256:" + 64 * "0"}},
        "the tag repro.data": {
            **content,
            "data": {"breast_cancer": content["data"]["breast_cancer"] | {"digest": "x"}},
        },
    }
    for what, forged in forgeries.items():
        file.write_text(json.dumps(forged), "utf-8")
        message = refused(project.just("reproduce", run_id, check=False), code=1)
        assert what in message, message
        assert tags(project, run_id)["repro.verdict"] == "different"
    file.write_text(whole, "utf-8")
    project.client().log_metric(run_id, "accuracy", 1.0)
    assert "the metric accuracy" in refused(project.just("reproduce", run_id, check=False), code=1)


@pytest.mark.slow
def test_a_record_of_schema_1_is_read(project: Project) -> None:
    run_id = train(project)
    file = artifact(project, run_id, "record/record.json")
    content = json.loads(file.read_text("utf-8"))
    old = {key: content[key] for key in ("seeded", "launch", "data", "stages", "metrics", "result")}
    old |= {"schema": 1, "code": {"commit": content["code"]["commit"], "dirty": "false"}}
    old |= {"environment": {"lock": content["environment"]["lock"]}}
    file.write_text(json.dumps(old), "utf-8")
    (file.parent / "predictions.parquet").unlink()
    assert "is not that run's" in refused(project.just("reproduce", run_id, check=False), code=1)  # who made it so now?
    project.client().delete_tag(run_id, "repro.record")  # no run of then has it
    assert "identical" in project.just("reproduce", run_id).stdout
    file.write_text(json.dumps(old | {"code": old["code"] | {"dirty": "true"}}), "utf-8")
    assert "schema 1" in refused(project.just("reproduce", run_id, check=False), code=2)
    file.write_text(json.dumps(old | {"schema": 99}), "utf-8")
    assert "99" in refused(project.just("reproduce", run_id, check=False), code=2)


@pytest.mark.slow
def test_a_run_outside_git_runs_and_says_what_is_lost(project: Project) -> None:
    shutil.rmtree(project.path / ".git")
    done = project.just("train", *SMALL)
    assert "notice: no git commit" in done.stdout
    [run] = project.runs()
    assert run.data.tags["repro.reproducible"] == "no"
    assert "git init" in refused(project.just("reproduce", run.info.run_id, check=False), code=2)
    assert "identical" in project.just("verify", *SMALL).stdout  # within one session it can be tried all the same


def test_a_run_from_a_notebook_is_tracked_and_says_what_is_lost(project: Project) -> None:
    cell = (
        "import signal\n"
        "from pathlib import Path\n"
        "from bikes.__main__ import experiment\n"
        "from bikes.reproducibility.execute import execute\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "execute(experiment, Path('confs/train.yaml').resolve(), ('model.n_estimators=5',))\n"
        "assert signal.getsignal(signal.SIGINT) is before\n"
        "import sqlite3, sys\n"
        "lock = sqlite3.connect(Path(sys.prefix).resolve() / 'in-use.lock', timeout=0)\n"
        "try:\n"
        "    lock.execute('BEGIN EXCLUSIVE')\n"
        "except sqlite3.OperationalError:\n"
        "    print('nobody can delete the environment')\n"
        "print('the notebook goes on')\n"
    )
    done = project.run(str(project.path / ".venv/bin/python"), "-c", cell)
    assert "the launch environment cannot be set" in done.stdout and "PYTHONHASHSEED" in done.stdout
    assert "nobody can delete the environment" in done.stdout and "the notebook goes on" in done.stdout
    [run] = project.runs()
    assert run.info.status == "FINISHED"
    assert record(project, run.info.run_id)["launch"]["PYTHONHASHSEED"] == "unset"


@pytest.mark.slow
def test_through_mlflow_run_the_verdict_is_a_tag(project: Project) -> None:
    run_id = train(project)
    project.just("run", "-e", "reproduce", "-P", f"run_id={run_id}")
    assert tags(project, run_id)["repro.verdict"] == "identical"
    replayed = project.client().get_run(tags(project, run_id)["repro.verified_by"])
    assert replayed.data.tags["mlflow.project.entryPoint"] == "reproduce"
    assert replayed.info.status == "FINISHED"


@pytest.mark.slow
def test_a_package_swapped_in_the_cached_environment_is_found_and_repaired(project: Project, tmp_path: Path) -> None:
    run_id = train(project)
    variables = {"MLFLOW_ENV_ROOT": str(tmp_path / "envs"), "UV_LINK_MODE": "copy"}
    project.just("reproduce", run_id, **variables)
    [environment] = [path for path in (tmp_path / "envs").glob("mlflow-*") if path.is_dir()]
    [click] = environment.glob("lib/python3*/site-packages/click/core.py")
    click.write_text(click.read_text("utf-8") + "# changed\n", "utf-8")
    done = project.just("reproduce", run_id, **variables)
    assert "Building it anew" in done.stdout and "identical" in done.stdout
    assert "# changed" not in click.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_reproduction_leaves_nothing(project: Project, tmp_path: Path, how: signal.Signals) -> None:
    train_py = project.path / "bikes" / "train.py"
    text = train_py.read_text("utf-8")
    hook = (
        "    import os, signal, pathlib\n"
        "    ready = os.environ.get('READY')\n"
        "    if ready:\n"
        "        pathlib.Path(ready).write_text(str(os.getpid()))\n"
        "        signal.pause()\n"
        "    table = run.dataset("
    )
    train_py.write_text(text.replace("    table = run.dataset(", hook, 1), "utf-8")
    project.git("commit", "--quiet", "--no-verify", "--all", "--message", "Wait where it is asked to")
    run_id = train(project)
    before = untouchable(project)
    ready = tmp_path / "ready"
    with started(project, "just", "reproduce", run_id, READY=str(ready), TMPDIR=str(tmp_path)) as process:
        wait_for(ready.exists, "the replay trains")
        os.killpg(process.pid, how)
        process.wait(60)
        wait_for(lambda: not members(process.pid), "all its processes are gone", 30)
    assert process.returncode in {130, -how, 128 + how}
    assert untouchable(project) == before
    assert [run.info.status for run in project.runs()] == ["FINISHED"]
    if how == signal.SIGKILL:
        assert scratch(tmp_path)
        said = project.just("doctor", check=False, TMPDIR=str(tmp_path)).stdout
        assert "left by a process that was killed" in said
    assert scratch(tmp_path) == []


def test_doctor_closes_a_run_whose_process_died_without_a_word(project: Project, tmp_path: Path) -> None:
    train_py = project.path / "bikes" / "train.py"
    train_py.write_text(
        "import os, signal\nfrom pathlib import Path\n\n\ndef train(settings, run):\n"
        "    Path(os.environ['READY']).write_text('')\n    signal.pause()\n"
    )
    ready = tmp_path / "ready"
    with started(project, "just", "train", READY=str(ready)) as process:
        wait_for(ready.exists, "it trains")
        assert "now marked" not in project.just("doctor", check=False).stdout  # it is alive
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    [run] = project.runs()
    assert run.info.status == "RUNNING"
    assert run.info.run_id in project.just("doctor", check=False).stdout
    [run] = project.runs()
    assert run.info.status == "KILLED"


def test_only_what_was_reproduced_is_promoted(project: Project) -> None:
    run_id = train(project)
    message = refused(project.just("promote", run_id, check=False))
    assert "just reproduce" in message
    project.just("promote", run_id, "--force")
    client = project.client()
    forced = client.get_model_version_by_alias("bikes", "champion")
    assert forced.tags["repro.forced"] == "true" and forced.tags["repro.run"] == run_id
    project.just("reproduce", run_id)
    project.just("promote", run_id)
    proven = client.get_model_version_by_alias("bikes", "champion")
    assert proven.version != forced.version
    assert proven.tags["repro.verdict"] == "identical" and "repro.forced" not in proven.tags
    project.just("predict", "champion", "data/breast_cancer.csv")
    assert subprocess.run(["git", "status", "--porcelain"], cwd=project.path, capture_output=True).stdout == b""


@pytest.mark.slow
def test_a_run_of_three_commits_ago_under_another_lock_and_another_mlflow_is_identical(project: Project) -> None:
    environment, pyproject = project.path / ".venv", project.path / "pyproject.toml"
    environment.unlink()  # other tests share what it links to
    today = pyproject.read_text("utf-8")

    def lock(text: str, message: str) -> dict[str, str]:
        pyproject.write_text(text, "utf-8")
        project.just("lock")
        project.just("setup")
        project.git("commit", "--quiet", "--no-verify", "--all", "--message", message)
        return pins(project.path / "constraints.txt")

    then = lock(today.replace("mlflow>=3.17.2,<3.18", "mlflow>=3.16,<3.17"), "Another MLflow")
    run_id = train(project)
    now = lock(today, "Today's MLflow")
    assert then["mlflow"].startswith("3.16.") and now["mlflow"].startswith("3.17.")
    for count in (1, 2):
        (project.path / "notes.txt").write_text(f"{count}\n")
        project.git("add", "notes.txt")
        project.git("commit", "--quiet", "--no-verify", "--message", f"Note {count}")

    done = project.just("reproduce", run_id, check=False)
    if "db upgrade" in done.stdout:  # the schema has changed in between: what the message says
        project.run(str(environment / "bin" / "mlflow"), "db", "upgrade", f"sqlite:///{project.path}/mlflow.db")
        done = project.just("reproduce", run_id)
    assert done.returncode == 0, done.stdout
    assert tags(project, run_id)["repro.verdict"] == "identical"
    replay = record(project, tags(project, run_id)["repro.verified_by"])
    assert replay["environment"]["packages"]["mlflow"] == then["mlflow"], "it ran under the MLflow of then"
