"""The CI files of a rendered project: valid, careful with rights, and executed command by command."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Project, copy_project

import debian
import engines

FILES = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}
#: What is there besides, where every run has an image.
IMAGE = ".github/workflows/image.yml"
SCHEMAS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A project with this CI."""
    made: dict[str, Path] = {}

    def get(ci: str, container: str = "docker") -> Path:
        key = f"{ci}-{container}"
        if key not in made:
            made[key] = copy_project(tmp_path_factory.mktemp(key) / "bikes", ci=ci, container=container)
        return made[key]

    return get


def validate(file: Path, ci: str) -> subprocess.CompletedProcess[str]:
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[ci]]
    # A name that ends in .yml tells the format; .gitlab-ci.yml would be taken for a file without a name.
    return subprocess.run([*tool, "--default-filetype", "yaml", str(file)], capture_output=True, text=True)


@pytest.mark.parametrize(("ci", "name"), [*FILES.items(), ("github", IMAGE)])
def test_file_is_valid_against_its_schema(ci: str, name: str, rendered: Callable[..., Path], tmp_path: Path) -> None:
    file = rendered(ci) / name
    done = validate(file, ci)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "ci.yml"
    broken.write_text(file.read_text("utf-8").replace("timeout", "time-out"), "utf-8")
    assert validate(broken, ci).returncode == 1


@pytest.mark.parametrize("ci", [*FILES, "none"])
def test_only_the_chosen_ci_is_rendered(ci: str, rendered: Callable[..., Path]) -> None:
    found = {name for name, file in FILES.items() if (rendered(ci) / file).exists()}
    assert found == {ci} - {"none"}
    assert (rendered(ci) / ".github").exists() == (ci == "github")


def test_image_is_built_where_there_is_one(rendered: Callable[..., Path]) -> None:
    for container in ("docker", "none"):
        assert (rendered("github", container) / IMAGE).exists() == (container == "docker")
        pipeline = yaml.safe_load((rendered("gitlab", container) / FILES["gitlab"]).read_text("utf-8"))
        assert ("container" in pipeline) == (container == "docker")


@pytest.mark.parametrize(
    ("name", "actions"), [(FILES["github"], ["actions/checkout"]), (IMAGE, ["actions/checkout", "actions/cache"])]
)
def test_github_workflow_may_only_read_and_runs_only_pinned_actions(
    name: str, actions: list[str], rendered: Callable[..., Path]
) -> None:
    text = (rendered("github") / name).read_text("utf-8")
    workflow = yaml.safe_load(text)
    [job] = workflow["jobs"].values()
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow[True]) == {"push", "pull_request"}, "pull_request_target would hand secrets to strangers"
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in job
    used = [step for step in job["steps"] if "uses" in step]
    assert [step["uses"].partition("@")[0] for step in used] == actions
    assert used[0]["with"] == {"persist-credentials": False}
    for step in used:
        assert re.search(rf"uses: {re.escape(step['uses'])} # v\d+\.\d+\.\d+$", text, re.MULTILINE)
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


def test_gitlab_pipeline_pins_its_image(rendered: Callable[..., Path]) -> None:
    pipeline = yaml.safe_load((rendered("gitlab") / FILES["gitlab"]).read_text("utf-8"))
    job = pipeline["ci"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-[a-z]+", job["image"])
    assert "slim" not in job["image"], "it has no git, which every run asks for its commit"
    image = pipeline["container"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-[a-z]+", image["image"])
    assert image["image"].endswith(f"-{debian.SUITE}"), "where Debian has the packages of Docker that tests run"
    [service] = image["services"]
    assert re.fullmatch(r"docker:\d+\.\d+\.\d+-dind", service["name"])
    assert f"tcp://{service['alias']}:" in image["variables"]["DOCKER_HOST"]


@pytest.mark.parametrize("job", ["ci", "image"])
@pytest.mark.parametrize("ci", FILES)
def test_tools_are_installed_at_exact_versions(ci: str, job: str, rendered: Callable[..., Path]) -> None:
    [install] = [step.command for step in steps(rendered(ci), ci, job) if "pip" in step.command]
    [line] = [line for line in install.splitlines() if "pip" in line and "install" in line]
    packages = shlex.split(line.partition(" install ")[2])
    assert [name.partition("==")[0] for name in packages] == ["uv", "rust-just"]
    assert all(re.fullmatch(r"[\w-]+==\d+(\.\d+)+", name) for name in packages)


@dataclass
class Step:
    """One command of a CI file, with the variables that hold for it."""

    command: str
    env: dict[str, str] = field(default_factory=dict)


def steps(project: Path, ci: str, job: str = "ci") -> list[Step]:
    """Read the commands of a job of the CI's, in their order."""
    if ci == "github":
        content: dict[str, Any] = yaml.safe_load((project / f".github/workflows/{job}.yml").read_text("utf-8"))
        [only] = content["jobs"].values()
        outer = content.get("env", {}) | only.get("env", {})
        return [Step(step["run"], outer | step.get("env", {})) for step in only["steps"] if "run" in step]
    pipeline = yaml.safe_load((project / FILES[ci]).read_text("utf-8"))
    # `image` is a word of GitLab's own.
    job = "container" if job == "image" else job
    return [Step(command, pipeline[job].get("variables", {})) for command in pipeline[job]["script"]]


class Runner:
    """A machine of a CI service: a shallow, detached check-out, and tools of its own first on PATH."""

    def __init__(self, original: Path, folder: Path, ci: str) -> None:
        self.ci = ci
        self.folder = folder
        self.project = Project(folder / "bikes")
        subprocess.run(["git", "clone", "--quiet", "--depth=1", original.as_uri(), self.project.path], check=True)
        self.project.git("checkout", "--quiet", "--detach")
        self.tools = folder / "python" / "bin"
        subprocess.run([sys.executable, "-m", "venv", self.tools.parent], check=True)
        self.added = folder / "github_path"
        self.added.touch()
        (folder / "temp").mkdir()
        self.env = {"CI": "true", "RUNNER_TEMP": str(folder / "temp"), "GITHUB_PATH": str(self.added)}

    def steps(self, job: str = "ci") -> Iterator[Step]:
        yield from steps(self.project.path, self.ci, job)

    def run(self, step: Step) -> subprocess.CompletedProcess[str]:
        """Run a step as the service does: bash that stops at the first error."""
        # Without the tests' own environment, whose `just` would stand in for the one that is installed here.
        inherited = [
            place for place in os.environ["PATH"].split(os.pathsep) if Path(place) != Path(sys.executable).parent
        ]
        path = [*reversed(self.added.read_text().split()), str(self.tools), *inherited]
        variables = self.env | step.env | {"PATH": os.pathsep.join(path)}
        options = ["-e"] if self.ci == "github" else ["-e", "-o", "pipefail"]
        return self.project.run("bash", *options, "-c", step.command, check=False, **variables)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize(("ci", "task"), [("github", "classification"), ("gitlab", "regression")])
def test_commands_lead_from_a_clean_machine_to_a_tracked_run(ci: str, task: str, tmp_path: Path) -> None:
    # A store that CI cannot reach: the pipeline must not need it.
    answers = {"tracking": "server", "tracking_uri": "http://127.0.0.1:9"}
    original = Project(copy_project(tmp_path / "original", ci=ci, task=task, package_name="bikes", **answers))
    original.git("init", "--quiet")
    original.git("add", "--all")
    original.git("commit", "--quiet", "--message", "Start")
    runner = Runner(original.path, tmp_path, ci)
    for step in runner.steps():
        done = runner.run(step)
        assert done.returncode == 0, f"{step.command}\n{done.stdout}"
    versions = runner.run(Step("uv --version; just --version")).stdout
    installed = next(step.command for step in runner.steps() if "pip" in step.command)
    for name, version in re.findall(r"(uv|just)==([\d.]+)", installed):
        assert f"{name} {version}" in versions, f"the {name} that ran was not the one that CI installed"
    [run] = runner.project.runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["repro.commit"] == original.git("rev-parse", "HEAD")
    assert run.data.tags["repro.dirty"] == "false"
    assert runner.project.git("status", "--porcelain") == ""
    check, test = (next(s for s in runner.steps() if s.command == f"just {name}") for name in ("check", "test"))
    fault = runner.project.path / "tests" / "test_planted.py"
    fault.write_text("def test_planted() -> None:\n    assert 1 == 2\n")
    assert runner.run(test).returncode != 0
    fault.write_text("import   os\n")
    assert runner.run(check).returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_commands_lead_to_the_image_of_a_commit_and_a_run_in_it(
    ci: str, docker: engines.Docker, tmp_path: Path
) -> None:
    original = Project(copy_project(tmp_path / "original", ci=ci, package_name="pedals"))
    original.git("init", "--quiet")
    original.git("add", "--all")
    original.git("commit", "--quiet", "--message", "Start")
    identities = []
    for day in ("first", "second"):
        (tmp_path / day).mkdir()
        runner = ImageRunner(original.path, tmp_path / day, ci, docker)
        if day == "second":
            commit = original.git("rev-parse", "HEAD")
            docker.run("docker", "image", "rm", "--force", f"pedals:{commit[:12]}")
            docker.run("docker", "buildx", "prune", "--all", "--force")
            shutil.copytree(tmp_path / "kept", runner.layers)
        told = []
        for step in runner.steps("image"):
            done = runner.run(step)
            assert done.returncode == 0, f"{step.command}\n{done.stdout}"
            told.append(done.stdout)
        shutil.copytree(runner.layers, tmp_path / "kept", dirs_exist_ok=True)
        [run] = runner.project.runs()
        assert run.info.status == "FINISHED"
        identities.append(run.data.tags["repro.image"])
        assert runner.project.git("status", "--porcelain") == ""
    assert identities[0] == identities[1]
    assert "CACHED" in told[-2], "the layers of the first day were not used"
    if ci == "github":
        settings = json.loads((runner.folder / "daemon.json").read_text())
        assert settings["features"] == json.loads((docker.folder / "daemon.json").read_text())["features"]


class ImageRunner(Runner):
    """A machine of a CI service with Docker's engine; what would change this machine is written down instead."""

    def __init__(self, original: Path, folder: Path, ci: str, docker: engines.Docker) -> None:
        super().__init__(original, folder, ci)
        self.layers = folder / "temp" / "layers" if ci == "github" else self.project.path / ".layers"
        self.engine = docker.environment
        (self.tools / "docker").symlink_to(docker.folder / "bin" / "docker")
        settings = f'case "$2" in /etc/docker/daemon.json) cat > {folder}/daemon.json;; restart) ;; *) exit 1; esac'
        for name, script in {
            "sudo": settings,
            "apt-get": f'echo "$@" >> {folder}/packages',
        }.items():
            (self.tools / name).write_text(f"#!/bin/sh\nset -e\n{script}\n")
            (self.tools / name).chmod(0o755)

    def run(self, step: Step) -> subprocess.CompletedProcess[str]:
        """Run a step with this engine in place of the service's."""
        here = {name: value for name, value in step.env.items() if not name.startswith("DOCKER_")}
        here = {name: value.replace("$CI_BUILDS_DIR", str(self.folder / "temp")) for name, value in here.items()}
        return super().run(Step(step.command, here | self.engine))
