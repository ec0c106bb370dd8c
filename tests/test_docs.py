"""The READMEs keep their word: every command block is run, in order, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pages
import pandas as pd
import pytest
from conftest import FRAMEWORKS, TEMPLATE, Project, clone, copy_project
from pages import changes
from tables_of_animals import penguins
from test_run import METRICS, PLOTS, local_path

BIKES = Path(os.environ.get("COPIER_MLFLOW_BIKES", TEMPLATE.parent / "shared" / "data" / "bike-sharing" / "hour.csv"))


def blocks(text: str) -> tuple[list[str], dict[str, str]]:
    """Take a README's command blocks apart: those to run, and those to skip with their reasons."""
    commands = [block for block in pages.blocks(text) if block.language == "bash"]
    return [one.body for one in commands if not one.skip], {one.body: one.skip for one in commands if one.skip}


def bodies(text: str, *languages: str) -> list[str]:
    """Give the blocks of some languages."""
    return [block.body for block in pages.blocks(text) if block.language in languages]


def run(script: str, folder: Path, **variables: str) -> None:
    """Run a block in bash; the first command that fails, fails it."""
    Project(folder).run("bash", "-euo", "pipefail", "-c", script, **variables)


def throw_away_pip(folder: Path) -> dict[str, str]:
    """Put a fresh virtual environment first on PATH, for `pip install uv` to go into."""
    subprocess.run(["uv", "venv", "--quiet", "--seed", str(folder)], check=True)
    return {"PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]), "VIRTUAL_ENV": str(folder)}


@pytest.mark.e2e
@pytest.mark.parametrize("task", ["classification", pytest.param("regression", marks=pytest.mark.slow)])
def test_readme_of_a_project_runs_block_by_block(task: str, tmp_path: Path) -> None:
    """Of regression, only what the other has not got is run, after what every block needs: an environment and a run."""
    project = Project(copy_project(tmp_path / "bikes", task=task))
    project.git("init", "--quiet")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Start")
    to_run, skipped = blocks((project.path / "README.md").read_text("utf-8"))
    assert set(skipped.values()) == {
        "serves until Ctrl-C",
        "needs the file; the test of this guide brings it" if task == "regression" else "needs a file of yours",
        "needs the template's own repository",
        "takes five minutes; a test of its own runs it",
        "needs these files; the test of this guide brings them",
        "needs a cluster; tests of their own run it",
        "needs docker or podman; a test of its own runs it",
        "needs nothing but docker; a test of its own runs it",
    }
    if task == "regression":
        other = copy_project(tmp_path / "other", project_name="bikes", task="classification") / "README.md"
        to_run = [to_run[0], *(block for block in to_run[1:] if block not in other.read_text("utf-8"))]
    for block in to_run:
        run(block, project.path)
    assert project.git("status", "--porcelain") == "", "what a reader did by the README left traces in git"
    assert list(project.path.glob("*.predictions.csv"))
    assert {run.info.status for run in project.runs()} == {"FINISHED"}


def write_into_conf(project: Project, lines: str) -> None:
    """Give keys of the conf the values that a README tells."""
    conf = project.path / "confs" / "train.yaml"
    text = conf.read_text("utf-8")
    for line in lines.splitlines():
        key = line.partition(":")[0]
        text, count = re.subn(rf"^( *){key}:.*$", rf"\g<1>{line}", text, flags=re.MULTILINE)
        assert count == 1
    conf.write_text(text, "utf-8")


def edited(project: Project) -> dict[str, int]:
    """Count the lines that were changed since the commit, by the file; of data, none."""
    project.git("add", "--all")
    lines = [line.split("\t") for line in project.git("diff", "--cached", "--numstat").splitlines()]
    return {name: int(plus) + int(minus) for plus, minus, name in lines if not name.endswith(".csv")}


@pytest.mark.e2e
@pytest.mark.parametrize(
    "framework", [pytest.param(name, marks=() if name == "scikit-learn" else pytest.mark.slow) for name in FRAMEWORKS]
)
def test_readme_guide_takes_categories_sentences_and_three_classes(
    framework: str, set_up: Callable[..., Project], tmp_path: Path
) -> None:
    """Its command, its conf lines and its change of a file, and nothing else."""
    project = clone(set_up("classification", framework), tmp_path / "bikes")
    names = {"nest_id": "customer_id", "seen": "cancelled_on", "species": "churned"}
    table = penguins().rename(columns=names)
    table.to_csv(tmp_path / "churn.csv", index=False)
    text = (project.path / "README.md").read_text("utf-8")
    _, skipped = blocks(text)
    [command] = [body for body, reason in skipped.items() if reason == "needs a file of yours"]
    [lines] = [body for body in bodies(text, "yaml") if "\ntarget: " in body]
    [change] = bodies(text, "diff")
    several = re.findall(r"`(\w+: [\w:]+)`", text.partition("For more than two classes")[2].partition(".\n")[0])
    run(command, project.path)
    write_into_conf(project, lines + "\n".join(several))
    project.just("train")
    preprocessing = project.path / "bikes" / "preprocessing.py"
    for old, new in changes(change):
        source = preprocessing.read_text("utf-8")
        assert source.count(old) == 1
        preprocessing.write_text(source.replace(old, new), "utf-8")
    by_hand = edited(project)
    assert by_hand.keys() == {"confs/train.yaml", "data/datasets.yaml", "bikes/preprocessing.py"}
    assert by_hand["confs/train.yaml"] + by_hand["bikes/preprocessing.py"] <= 20
    project.just("train")
    trained, without_words = project.runs()
    assert without_words.data.metrics["accuracy"] > 0.85
    assert trained.data.metrics["accuracy"] > 0.95
    assert trained.data.metrics["log_loss"] < without_words.data.metrics["log_loss"]
    project.just("predict", trained.info.run_id, "../churn.csv")
    predicted = pd.read_csv(project.path / "churn.predictions.csv")
    assert (predicted["prediction"] == table["churned"]).mean() > 0.95
    project.just("check")


@pytest.mark.e2e
def test_readme_guide_to_own_data_gives_an_honest_model(regression_project: Project) -> None:
    """Follow the guide to the letter: its command, its conf lines, and nothing else; and not, where it warns."""
    if not BIKES.exists():
        pytest.skip(f"SKIPPED LOUDLY: there is no {BIKES}; COPIER_MLFLOW_BIKES names the UCI file hour.csv")
    (regression_project.path.parent / "hour.csv").write_bytes(BIKES.read_bytes())
    text = (regression_project.path / "README.md").read_text("utf-8")
    _, skipped = blocks(text)
    [command] = [body for body, reason in skipped.items() if reason.startswith("needs the file")]
    [lines] = [body for body in bodies(text, "yaml") if "\ntarget: " in body]
    run(command, regression_project.path)
    write_into_conf(regression_project, lines)
    edited_by_hand = edited(regression_project)
    assert edited_by_hand.keys() == {"confs/train.yaml", "data/datasets.yaml"}
    assert sum(edited_by_hand.values()) <= 30
    regression_project.just("train")
    honest = regression_project.runs()[0]
    assert honest.data.metrics.keys() == METRICS["regression"]
    assert 0.8 < honest.data.metrics["r2"] < 0.99
    plots = (local_path(honest.info.artifact_uri) / "plots").iterdir()
    assert {file.stem for file in plots} == PLOTS["regression"]
    regression_project.just("test")
    regression_project.just("check")
    regression_project.just("train", "--set", "drop=[instant, dteday]")
    assert regression_project.runs()[0].data.metrics["r2"] > 0.995  # the leak that the guide warns of


@pytest.mark.slow
@pytest.mark.e2e
def test_readme_guide_to_steps_gives_a_chain_that_is_proven(project: Project) -> None:
    """Follow the guide to the letter: its files, its two edits, its commands."""
    text = (project.path / "README.md").read_text("utf-8")
    guide = re.split(r"(?m)^## ", text[text.index("## Several steps") :])[1]
    *files, edit = bodies(guide, "python", "yaml")
    for body in files:
        first, content = body.split("\n", 1)
        (project.path / first.removeprefix("# ")).write_text(content, "utf-8")
    conf, train = project.path / "confs" / "train.yaml", project.path / "bikes" / "train.py"
    conf.write_text(f"{conf.read_text('utf-8')}\n{edit}", "utf-8")
    code = train.read_text("utf-8").replace("run.dataset(settings.dataset)", 'pd.read_parquet(run.input("clean"))')
    train.write_text(code.replace("\nfrom sklearn", "\nimport pandas as pd\nfrom sklearn", 1), "utf-8")
    project.commit()
    [commands] = [body for body, reason in blocks(guide)[1].items() if reason.startswith("needs these files")]
    pipeline, _, lineage, chain = [line.partition(" #")[0] for line in commands.splitlines()]
    run(pipeline, project.path)
    steps = {run.data.tags["repro.step"]: run for run in project.runs() if "repro.step" in run.data.tags}
    assert steps.keys() == {"prepare", "train"}
    assert not any("begins" in line for line in project.run(*pipeline.split()).stdout.splitlines())
    run(lineage, project.path)
    assert (local_path(steps["train"].info.artifact_uri) / "lineage.png").exists()
    run(chain, project.path)
    verdicts = [project.client().get_run(run.info.run_id).data.tags["repro.verdict"] for run in steps.values()]
    assert verdicts == ["identical"] * 2
    project.just("check")


@pytest.mark.e2e
def test_readme_of_the_template_runs_block_by_block(tmp_path: Path) -> None:
    clone = tmp_path / "copier-mlflow"
    subprocess.run(["git", "clone", "--quiet", str(TEMPLATE), str(clone)], check=True)
    to_run, skipped = blocks((TEMPLATE / "README.md").read_text("utf-8"))
    assert set(skipped.values()) == {
        "the tests cannot run themselves",
    }
    machine = throw_away_pip(tmp_path / "venv")
    for block in to_run:
        # The fast tests, run by the fast tests' sibling, prove nothing that they do not prove themselves; and the demo
        # is run by its own.
        block = block.replace("just test-fast", "just test-fast --collect-only -q")
        run(block.replace("just demo", "just --dry-run demo"), clone, **machine)
    assert (tmp_path / "bikes" / "mlflow.db").exists()


@pytest.mark.parametrize("readme", ["README.md", "template/README.md.jinja"])
def test_readme_begins_with_what_debians_python_accepts_too(readme: str, tmp_path: Path) -> None:
    """PEP 668: such a Python refuses a plain `pip install`."""
    [command] = set(re.findall(r"(\w+=1 pip install uv)\b", (TEMPLATE / readme).read_text("utf-8")))
    assert "pip install uv" not in (TEMPLATE / readme).read_text("utf-8").replace(command, "")
    system = Path("/usr/bin/python3")
    managed = list(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED"))
    if not managed or subprocess.run([system, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("needs a Python of Debian's, with pip: apt install python3-pip")
    (tmp_path / "pip").write_text(f'#!/bin/sh\nexec {system} -m pip "$@"\n')
    (tmp_path / "pip").chmod(0o755)
    # As somebody who is not root, whose home is here.
    home = {"HOME": str(tmp_path), "PYTHONUSERBASE": str(tmp_path / ".local"), "PIP_USER": "1"}
    machine = os.environ | home | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    plain = command.partition(" ")[2]
    done = subprocess.run(["sh", "-c", plain], env=machine, capture_output=True, text=True)
    assert done.returncode and "externally-managed" in done.stderr, "nothing refused, nothing tested"
    subprocess.run(["sh", "-c", command], env=machine, check=True)
    subprocess.run([tmp_path / ".local/bin/uvx", "--version"], env=machine, check=True)
