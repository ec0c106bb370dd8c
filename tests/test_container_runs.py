"""Runs in real containers: as complete, as provable and as well ended as any other, and their caller's."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, copy_project, refused
from test_docs import blocks
from test_image import INDEX, SECRET
from test_interrupts import WAITING, members, send, started, status, wait_for
from test_steps import into_small_steps, of_step, verdicts

import engines

pytestmark = pytest.mark.e2e

#: One who is not root, may ask Docker, and reads what root's folders have: the Python of this machine, for example.
AS_A_PERSON = (
    *("setpriv", f"--reuid={engines.PERSON}", f"--regid={engines.PERSON}", f"--groups={engines.DOCKERS}"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", "--"),
)
slow = pytest.mark.slow


class Persons(Project):
    """A project of a person who is not root."""

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return super().run(*AS_A_PERSON, *command, **options)

    def container_of(self, run_id: str) -> dict[str, str]:
        """What the record of a run says of its image."""
        found: dict[str, str] = self.record(run_id)["environment"].get("container", {})
        return found

    def record(self, run_id: str) -> dict[str, Any]:
        [file] = self.path.glob(f"mlruns/{run_id}/artifacts/record/record.json")
        content: dict[str, Any] = json.loads(file.read_text())
        return content

    def last(self) -> Any:
        return self.runs()[0]


@pytest.fixture
def project(
    docker: engines.Docker,
    set_up: Callable[..., Project],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Persons]:
    """A committed project of such a person, of a task and a framework, and an engine for it."""
    task, framework = getattr(request, "param", ("classification", "scikit-learn"))
    environment = (set_up(task, framework).path / ".venv").resolve()  # of all tests, and so made as for any of them
    monkeypatch.delenv("GIT_CONFIG_GLOBAL")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # pytest's folders are closed to others
        home = Path(name)
        for variable, value in {
            **docker.environment,
            **INDEX,
            "HOME": name,
            "MLFLOW_ENV_ROOT": f"{name}/envs",
            "BUILDX_CONFIG": f"{name}/x",
            "PATH": os.pathsep.join([f"{name}/bin", docker.environment["PATH"]]),
        }.items():
            monkeypatch.setenv(variable, value)
        (home / "bin").mkdir()
        # Looked for, what lies in a folder of root's is nobody else's to execute.
        (home / "bin" / "uv").write_text(f'#!/bin/sh\nexec {shutil.which("uv")} "$@"\n')
        (home / "bin" / "uv").chmod(0o755)
        (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.com\n")
        project = Persons(copy_project(home / "bikes", task=task, framework=framework, container="docker"))
        (project.path / ".venv").symlink_to(environment)
        for place in environment.parents[:-2]:  # below the system's folder for what is temporary
            place.chmod(0o755)
        (project.path / ".env").write_text(f"MLFLOW_TRACKING_PASSWORD={SECRET}\n")
        for place in (home, *home.rglob("*")):
            os.chown(place, engines.PERSON, engines.PERSON, follow_symlinks=False)
        home.chmod(0o755)
        project.git("init", "--quiet")
        project.commit()
        yield project


def containers(docker: engines.Docker, project: Project) -> list[str]:
    """Names of the containers of a project: other tests have some in the same engine."""
    own = f"label=repro.project={project.path}"
    return docker.run("docker", "ps", "--all", "--filter", own, "--format", "{{.Names}}").stdout.split()


def named(facts: dict[str, str]) -> str:
    """The name of an image by its ID, which in containerd's store is not what Docker calls it."""
    return f"bikes:id-{facts['image'].removeprefix('sha256:')}"


def strangers(project: Project) -> list[Path]:
    """Files of the project that are not the person's."""
    files = [path for path in project.path.rglob("*") if ".venv" not in path.parts]
    return [path for path in files if path.lstat().st_uid != engines.PERSON]


def test_a_run_in_a_container_is_proven_there_and_outside(project: Persons, docker: engines.Docker) -> None:
    project.just("image")
    printed = project.just("run", "--container").stdout
    assert "Building" not in printed and "notice" not in printed and "WARNING" not in printed, printed
    run = project.last()
    assert run.info.status == "FINISHED"
    facts = project.container_of(run.info.run_id)
    inspected = json.loads(docker.run("docker", "image", "inspect", named(facts)).stdout)[0]
    assert facts["image"] == run.data.tags["repro.image"]
    assert facts["base"].startswith(engines.BASE) and facts["engine"].startswith("docker ") and facts["builder"]
    assert run.data.tags["repro.commit"] == project.git("rev-parse", "HEAD")
    assert run.data.tags["repro.dirty"] == "false"
    assert run.data.tags["repro.reproducible"] == "here", "there is no remote"
    code = project.record(run.info.run_id)["code"]
    assert (code["left_out"], code["only_here"]) == ([], ["the repository has no remote"])
    assert "bikes/train.py" in code["modules"]
    assert strangers(project) == []
    assert containers(docker, project) == []
    assert project.git("status", "--porcelain") == ""
    history = docker.run("docker", "history", "--no-trunc", named(facts)).stdout
    assert SECRET not in json.dumps(inspected) + history

    told = project.just("reproduce", "last", "--dry-run").stdout
    assert f"{facts['image']}, which docker" in told
    inside = project.just("reproduce", "last").stdout
    assert "identical: every stage is equal" in inside and "without effect" not in inside
    assert project.container_of(project.last().info.run_id) == facts
    assert project.last().data.tags["repro.image"] == facts["image"]

    outside = project.just("reproduce", run.info.run_id, "--no-container").stdout
    assert "identical: every stage is equal" in outside
    assert "image     image: sha256:" in outside
    assert project.container_of(project.last().info.run_id) == {}
    assert strangers(project) == [] and containers(docker, project) == []


@slow
def test_a_step_in_a_container_is_given_its_inputs_and_makes_outputs(project: Persons) -> None:
    into_small_steps(project)
    for place in project.path.rglob("*"):  # which root has written
        os.chown(place, engines.PERSON, engines.PERSON, follow_symlinks=False)
    for step in ("first", "left"):
        project.just("run", "--container", "-e", "step", "-P", f"name={step}")
    first, left = (of_step(project, step)[0] for step in ("first", "left"))
    assert (first.info.status, left.info.status) == ("FINISHED", "FINISHED")
    [made] = project.path.glob(f"mlruns/{left.info.run_id}/artifacts/outputs/words.txt")
    assert made.read_text() == "first left"
    assert project.record(left.info.run_id)["inputs"]["first"]["run"] == first.info.run_id
    assert project.container_of(left.info.run_id) and strangers(project) == []
    assert "identical: every stage is equal" in project.just("reproduce", left.info.run_id).stdout
    assert project.container_of(project.last().info.run_id)
    chain = project.just("reproduce", left.info.run_id, "--chain").stdout
    assert verdicts(chain) == {"first": "identical", "left": "identical"}


@slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("project", [("images", "pytorch")], indirect=True)
def test_a_network_learns_from_images_in_a_container(project: Persons) -> None:
    project.just("image")
    project.just("run", "--container")
    run = project.last()
    assert run.info.status == "FINISHED" and run.data.metrics["accuracy"] > 0.95
    facts = project.container_of(run.info.run_id)
    assert facts["image"] == run.data.tags["repro.image"]
    assert "identical: every stage is equal" in project.just("reproduce", run.info.run_id).stdout
    assert project.container_of(project.last().info.run_id) == facts
    assert strangers(project) == []


@slow
def test_uncommitted_work_and_what_no_record_holds_are_seen_inside(project: Persons, docker: engines.Docker) -> None:
    train = project.path / "bikes" / "train.py"
    reading = 'from pathlib import Path\n\nassert Path("secrets.yaml").read_text() == "x: y\\n"\n'
    train.write_text(train.read_text().replace("\nfrom ", f"\n{reading}from ", 1))
    (project.path / "secrets.yaml").write_text("x: y\n")
    (project.path / "other.yaml").write_text((project.path / "confs" / "train.yaml").read_text())
    printed = project.just("run", "--container", "-P", "config=other.yaml", "--set", "test_fraction=0.3").stdout
    run = project.last()
    assert run.data.tags["repro.dirty"] == "true"
    assert run.data.params["conf.test_fraction"] == "0.3"
    assert "secrets.yaml is not in the record: it looks like a secret" in printed
    record = project.record(run.info.run_id)
    assert [entry["path"] for entry in record["code"]["left_out"]] == ["secrets.yaml"]
    assert record["code"]["patch"]
    shipped = docker.run("docker", "run", "--rm", named(record["environment"]["container"]), "ls", "-a", "/app").stdout
    assert not {"secrets.yaml", ".env", ".git", "mlflow.db", "mlruns", "data"} & {*shipped.split()}
    assert "identical: every stage is equal" in project.just("reproduce", "last").stdout


@slow
def test_a_training_that_fails_leaves_a_failed_run(project: Persons, docker: engines.Docker) -> None:
    (project.path / "bikes" / "train.py").write_text("def train(settings, run):\n    raise ValueError('planted')\n")
    done = project.just("run", "--container", check=False)
    assert done.returncode == 3
    assert "ValueError: planted" in done.stdout
    assert project.last().info.status == "FAILED"
    assert containers(docker, project) == []


def waiting(project: Persons) -> None:
    (project.path / "bikes" / "train.py").write_text(WAITING.replace('os.environ["READY"]', '"/tmp/ready"'))


@slow
@pytest.mark.parametrize("how", ["Ctrl-C", "Ctrl-C twice", "SIGTERM to just"])
def test_a_training_that_is_ended_is_marked_killed(project: Persons, docker: engines.Docker, how: str) -> None:
    waiting(project)
    with started(project, *AS_A_PERSON, "just", "run", "--container") as process:

        def begun() -> bool:
            found = containers(docker, project)
            said = found and docker.run("docker", "exec", found[0], "cat", "/tmp/ready", check=False)
            return process.poll() is not None or bool(said and said.returncode == 0)

        wait_for(begun, "the training has begun", 400)
        assert process.poll() is None, process.communicate()[0]
        assert status(project) == "RUNNING"
        [name] = containers(docker, project)
        told = docker.run("docker", "inspect", name).stdout
        assert SECRET not in told
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not any(SECRET.encode() in line for line in lines)
        send(process, how)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 130, output
        assert "Traceback" not in output
    assert status(project) == "KILLED"
    assert containers(docker, project) == []


@slow
def test_what_a_kill_left_is_ended_by_the_doctor(project: Persons, docker: engines.Docker) -> None:
    waiting(project)
    with started(project, *AS_A_PERSON, "just", "run", "--container") as process:
        wait_for(lambda: process.poll() is not None or containers(docker, project), "the container is there", 400)
        assert process.poll() is None, process.communicate()[0]
        for member in members(process.pid):
            os.kill(member, signal.SIGKILL)
        [name] = containers(docker, project)  # whose client holds the output of what was killed
        told = project.just("doctor", check=False).stdout
        assert f"ended the container {name}" in told
        assert "KILLED" in told
        assert containers(docker, project) == []
        assert status(project) == "KILLED"


@slow
def test_a_tampered_image_is_refused(project: Persons, docker: engines.Docker, tmp_path: Path) -> None:
    project.just("run", "--container")
    facts = project.container_of(project.last().info.run_id)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {named(facts)}\nUSER 0:0\nRUN echo 'x = 1' >> /opt/venv/lib/python3.11/site-packages/sklearn/base.py\n"
    )
    reference = f"bikes:{project.git('rev-parse', 'HEAD')[:12]}"
    docker.run("docker", "build", "--tag", reference, str(tmp_path), DOCKER_BUILDKIT="0")
    done = project.just("run", "--container", check=False)
    assert "sklearn/base.py of scikit_learn" in refused(done)
    assert project.last().info.status == "FAILED"


@slow
def test_an_image_that_is_gone_is_built_anew(project: Persons, docker: engines.Docker) -> None:
    project.just("run", "--container")
    run = project.last()
    facts = project.container_of(run.info.run_id)
    docker.run("docker", "image", "rm", "--force", named(facts), f"bikes:{project.git('rev-parse', 'HEAD')[:12]}")
    told = project.just("reproduce", "last", "--dry-run").stdout
    assert "built from the commit" in told
    done = project.just("reproduce", "last").stdout
    assert "Building" in done and "identical: every stage is equal" in done
    assert "image " not in done.partition("Building")[2].partition("split")[2], "it has equal contents"


@slow
def test_a_run_outside_is_reproduced_inside_and_verified_there(project: Persons, docker: engines.Docker) -> None:
    project.just("train")
    done = project.just("reproduce", "last", "--container").stdout
    assert "identical: every stage is equal" in done
    assert "image     image: none -> sha256:" in done
    assert project.container_of(project.last().info.run_id)
    done = project.just("run", "--container", "-e", "verify", "-P", "seed=7").stdout
    assert "identical: every stage is equal" in done
    newest = project.runs()[:2]
    assert [bool(project.container_of(run.info.run_id)) for run in newest] == [True, True]
    assert strangers(project) == []


@slow
def test_a_commit_without_a_dockerfile_has_no_container(project: Persons) -> None:
    (project.path / "Dockerfile").unlink()
    project.commit()
    project.just("train")
    message = refused(project.just("reproduce", "last", "--container", check=False), 2)
    assert "--no-container" in message
    message = refused(project.just("run", "--container", check=False), 3)
    assert "Dockerfile" in message
    assert [run.info.status for run in project.runs()] == ["FINISHED"], "what cannot be had needs no run to say so"


@slow
def test_without_an_engine_a_run_is_reproduced_without_a_container(project: Persons, tmp_path: Path) -> None:
    project.just("run", "--container")
    bound = {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    done = project.just("reproduce", "last", **bound).stdout
    assert "notice: replayed without a container" in done
    assert "identical: every stage is equal" in done
    assert refused(project.just("reproduce", "last", "--container", check=False, **bound), 3)


def block(project: Project, reason: str) -> str:
    """The block of the project's README that is skipped elsewhere for a reason."""
    _, skipped = blocks((project.path / "README.md").read_text())
    [found] = [body for body, why in skipped.items() if why.startswith(reason)]
    return found


@slow
def test_readme_runs_with_docker_alone(project: Persons, docker: engines.Docker) -> None:
    dockerfile = project.path / "Dockerfile"
    pinned = re.sub(r"(?m)^ARG BASE=.*", f"ARG BASE={engines.BASE}", dockerfile.read_text())
    dockerfile.write_text(pinned)
    project.commit()
    (project.path / ".venv").unlink()
    script = block(project, "needs nothing but docker")
    programs = {"PATH": f"{Path(str(shutil.which('docker'))).parent}:/usr/bin:/bin"}
    project.run("bash", "-euo", "pipefail", "-c", script, **programs)
    run = project.last()
    assert run.info.status == "FINISHED"
    assert run.data.tags["repro.commit"] == project.git("rev-parse", "HEAD")
    assert run.data.tags["repro.dirty"] == "unknown", "nobody looked"
    assert strangers(project) == []


@slow
def test_readme_runs_in_containers(project: Persons) -> None:
    said = project.run("bash", "-euo", "pipefail", "-c", block(project, "needs docker or podman")).stdout
    assert said.count("identical: every stage is equal") == 3
