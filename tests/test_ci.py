"""The CI files of a rendered project: valid, careful with rights, and executed command by command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Project, copy_project

FILES = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}
SCHEMAS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A project with this CI."""
    made: dict[str, Path] = {}

    def get(ci: str) -> Path:
        if ci not in made:
            made[ci] = copy_project(tmp_path_factory.mktemp(ci) / "bikes", ci=ci)
        return made[ci]

    return get


def validate(file: Path, ci: str) -> subprocess.CompletedProcess[str]:
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[ci]]
    # A name that ends in .yml tells the format; .gitlab-ci.yml would be taken for a file without a name.
    return subprocess.run([*tool, "--default-filetype", "yaml", str(file)], capture_output=True, text=True)


@pytest.mark.parametrize("ci", FILES)
def test_file_is_valid_against_its_schema(ci: str, rendered: Callable[[str], Path], tmp_path: Path) -> None:
    file = rendered(ci) / FILES[ci]
    done = validate(file, ci)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "ci.yml"
    broken.write_text(file.read_text("utf-8").replace("timeout", "time-out"), "utf-8")
    assert validate(broken, ci).returncode == 1


@pytest.mark.parametrize("ci", [*FILES, "none"])
def test_only_the_chosen_ci_is_rendered(ci: str, rendered: Callable[[str], Path]) -> None:
    found = {name for name, file in FILES.items() if (rendered(ci) / file).exists()}
    assert found == {ci} - {"none"}
    assert (rendered(ci) / ".github").exists() == (ci == "github")


def test_github_workflow_may_only_read_and_runs_only_pinned_actions(rendered: Callable[[str], Path]) -> None:
    text = (rendered("github") / FILES["github"]).read_text("utf-8")
    workflow = yaml.safe_load(text)
    [job] = workflow["jobs"].values()
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow[True]) == {"push", "pull_request"}, "pull_request_target would hand secrets to strangers"
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in job
    used = [step for step in job["steps"] if "uses" in step]
    assert [step["uses"].partition("@")[0] for step in used] == ["actions/checkout"]
    assert used[0]["with"] == {"persist-credentials": False}
    for step in used:
        assert re.search(rf"uses: {re.escape(step['uses'])} # v\d+\.\d+\.\d+$", text, re.MULTILINE)
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


def test_gitlab_pipeline_pins_its_image(rendered: Callable[[str], Path]) -> None:
    pipeline = yaml.safe_load((rendered("gitlab") / FILES["gitlab"]).read_text("utf-8"))
    job = pipeline["ci"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-[a-z]+", job["image"])
    assert "slim" not in job["image"], "it has no git, which every run asks for its commit"


@pytest.mark.parametrize("ci", FILES)
def test_tools_are_installed_at_exact_versions(ci: str, rendered: Callable[[str], Path]) -> None:
    [install] = [step.command for step in steps(rendered(ci), ci) if "pip" in step.command]
    [line] = [line for line in install.splitlines() if "pip" in line and "install" in line]
    packages = shlex.split(line.partition(" install ")[2])
    assert [name.partition("==")[0] for name in packages] == ["uv", "rust-just"]
    assert all(re.fullmatch(r"[\w-]+==\d+(\.\d+)+", name) for name in packages)


@dataclass
class Step:
    """One command of a CI file, with the variables that hold for it."""

    command: str
    env: dict[str, str] = field(default_factory=dict)


def steps(project: Path, ci: str) -> list[Step]:
    """Read the commands of a CI file, in their order."""
    content: dict[str, Any] = yaml.safe_load((project / FILES[ci]).read_text("utf-8"))
    if ci == "github":
        [job] = content["jobs"].values()
        outer = content.get("env", {}) | job.get("env", {})
        return [Step(step["run"], outer | step.get("env", {})) for step in job["steps"] if "run" in step]
    return [Step(command, content["ci"].get("variables", {})) for command in content["ci"]["script"]]


class Runner:
    """A machine of a CI service: a shallow, detached check-out, and tools of its own first on PATH."""

    def __init__(self, original: Path, folder: Path, ci: str) -> None:
        self.ci = ci
        self.project = Project(folder / "bikes")
        subprocess.run(["git", "clone", "--quiet", "--depth=1", original.as_uri(), self.project.path], check=True)
        self.project.git("checkout", "--quiet", "--detach")
        self.tools = folder / "python" / "bin"
        subprocess.run([sys.executable, "-m", "venv", self.tools.parent], check=True)
        self.added = folder / "github_path"
        self.added.touch()
        (folder / "temp").mkdir()
        self.env = {"CI": "true", "RUNNER_TEMP": str(folder / "temp"), "GITHUB_PATH": str(self.added)}

    def steps(self) -> Iterator[Step]:
        yield from steps(self.project.path, self.ci)

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


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("ci", "task"), [("github", "classification"), pytest.param("gitlab", "regression", marks=pytest.mark.slow)]
)
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
