"""What made two runs differ: ranked from the records, proven by replays. Each cause is planted, then looked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Project, clone
from test_reproduce import SMALL, artifact, tags, train

pytestmark = pytest.mark.e2e

#: Stages of which one depends on threads and kernels, one on the CPU's features, one on a package's version.
SENSITIVE = """\
    generator = run.rng("sensitive")
    run.stage("version", importlib.metadata.version("iniconfig"))
    run.stage("sine", np.sin(generator.normal(size=10_000).astype("float32")))
    run.stage("product", generator.normal(size=(600, 500)) @ generator.normal(size=(500, 400)))
    run.stage("split", """
OTHER_CPU = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}
OTHER_KERNELS = {"OPENBLAS_CORETYPE": "Nehalem"}


@dataclass
class Planted:
    """A project, a run of it, and one run for each cause that was planted alone."""

    project: Project
    base: str
    runs: dict[str, str]


def commit(project: Project, message: str) -> None:
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", "--message", message)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.fixture(scope="module")
def planted(set_up: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    project = clone(set_up("classification"), tmp_path_factory.mktemp("planted") / "bikes")
    path = project.path
    source = path / "bikes" / "train.py"
    replace(source, '    run.stage("split", ', SENSITIVE)
    replace(source, "import numpy as np", "import importlib.metadata\n\nimport numpy as np")
    # An environment of its own: one package is to change in it.
    (path / ".venv").unlink()
    replace(path / "pyproject.toml", '    "matplotlib', '    "iniconfig==2.1.0",\n    "matplotlib')
    project.just("lock")
    project.just("setup")
    commit(project, "Sensitive")
    base = train(project)
    runs = {
        "nothing": train(project),
        "seed": train(project, "--seed", "7"),
        "conf": train(project, "--set", "model.max_depth=2"),
        "threads": train(project, "--set", "threads=8"),
        "cpu": train(project, **OTHER_CPU),
        "kernels": train(project, **OTHER_KERNELS),
    }
    replace(source, 'run.stage("sine", np.sin', 'run.stage("sine", 2 * np.sin')
    runs["code"] = train(project)
    project.git("checkout", "--quiet", "--", ".")
    table = path / "data" / "breast_cancer.csv"
    lines = table.read_text("utf-8").splitlines(keepends=True)
    table.write_text("".join([*lines[:5], *lines[6:], lines[5]]), "utf-8")
    project.just("data-add", "data/breast_cancer.csv", "--name", "breast_cancer")
    runs["data"] = train(project)
    project.git("checkout", "--quiet", "--", ".")
    replace(path / "pyproject.toml", "iniconfig==2.1.0", "iniconfig==2.3.0")
    project.just("lock")
    project.just("setup")
    runs["packages"] = train(project)
    project.git("checkout", "--quiet", "--", ".")
    project.just("setup")
    yield Planted(project, base, runs)


def causes(said: str) -> list[str]:
    """The recorded differences, in the order in which `compare` names them."""
    found = re.search(r"most likely cause first:\n((?:  .*\n)*)", said)
    return re.findall(r"^  (\w+)", found[1], re.MULTILINE) if found else []


FIRST = {
    "seed": ("seed", "version"),
    "conf": ("conf", "weights"),
    "threads": ("threads", "product"),
    "cpu": ("cpu", "sine"),
    "kernels": ("cpu", "product"),
    "code": ("code", "sine"),
    "data": ("data", "data breast_cancer"),
    "packages": ("packages", "version"),
}


@pytest.mark.parametrize("what", FIRST)
def test_the_planted_cause_is_ranked_first(planted: Planted, what: str) -> None:
    done = planted.project.just("compare", planted.base, planted.runs[what], check=False)
    cause, stage = FIRST[what]
    assert done.returncode == (0 if cause == "cpu" else 1), done.stdout  # rounding on other hardware is equivalent
    assert causes(done.stdout)[0] == cause, done.stdout
    if what != "seed":
        assert f"the first stage that differs: {stage}" in done.stdout
    assert len(causes(done.stdout)) == 1, "one was planted"


def test_where_nothing_was_planted_nothing_is_named(planted: Planted) -> None:
    done = planted.project.just("compare", planted.base, planted.runs["nothing"], "--explain")
    assert "identical" in done.stdout and "nothing to explain" in done.stdout
    assert causes(done.stdout) == []


def proven(said: str) -> dict[str, list[str]]:
    return {
        name: stages.split(", ") for name, stages in re.findall(r"^proven +(\w+) changes (.*)$", said, re.MULTILINE)
    }


@pytest.mark.slow
def test_two_causes_at_once_are_separated_by_replays(planted: Planted, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    both = train(planted.project, "--set", "threads=8", **OTHER_CPU)
    done = planted.project.just("compare", planted.base, both, "--explain", "--html", str(page), check=False)
    found = proven(done.stdout)
    assert found.keys() == {"threads", "cpu"}, done.stdout
    assert found["threads"] == ["product"]
    assert "sine" in found["cpu"]
    assert "gives the first one's result, to the last bit" in done.stdout
    assert "<h1>" in page.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["seed", "conf", "threads", "kernels", "code", "data", "packages"])
def test_each_cause_is_proven_by_replays(planted: Planted, what: str) -> None:
    done = planted.project.just("compare", planted.base, planted.runs[what], "--explain", check=False)
    found = proven(done.stdout)
    assert list(found) == [FIRST[what][0]], done.stdout
    assert what == "seed" or found[FIRST[what][0]][0] == FIRST[what][1]
    assert "gives the first one's result, to the last bit" in done.stdout


def test_on_another_cpu_the_verdict_is_equivalent_where_only_rounding_differs(planted: Planted) -> None:
    """The forest is the same; what differs is rounding in a stage of its own."""
    done = planted.project.just("reproduce", planted.base, **OTHER_CPU)
    assert "equivalent" in done.stdout and "the first stage that differs: sine" in done.stdout
    assert causes(done.stdout) == ["cpu"]
    assert tags(planted.project, planted.base)["repro.verdict"] == "equivalent"


NOISE = {
    "an unseeded generator": ("import numpy as np", "np.random.default_rng().normal()", "drawn", "run.rng"),
    "a clock": ("import time", "time.time()", "metrics", "clock"),
    "the order of a set": ("", "[str(i) for i, _ in {(k, object()) for k in range(50)}]", "drawn", "order of a set"),
}


@pytest.mark.parametrize(
    "what",
    [next(iter(NOISE)), *(pytest.param(what, marks=pytest.mark.slow) for what in list(NOISE)[1:])],
)
def test_verify_fails_at_the_stage_that_does_not_repeat(project: Project, what: str) -> None:
    line, expression, stage, hint = NOISE[what]
    source = project.path / "bikes" / ("metrics.py" if stage == "metrics" else "train.py")
    replace(source, "import numpy as np", f"{line}\nimport numpy as np" if line else "import numpy as np")
    if stage == "metrics":
        replace(source, '"accuracy": ', f'"noise": {expression},\n        "accuracy": ')
    else:
        replace(source, '    run.stage("split"', f'    run.stage("drawn", {expression})\n    run.stage("split"')
    done = project.just("verify", *SMALL, check=False)
    assert done.returncode == 1, done.stdout
    assert f"the first stage that differs: {stage}" in done.stdout
    assert hint in done.stdout
    replayed, original = project.runs()
    assert original.data.tags["repro.verdict"] == replayed.data.tags["repro.verdict"] == "different"
    assert replayed.data.tags["repro.reproduces"] == original.info.run_id
    assert artifact(project, replayed.info.run_id, "report.html").exists()


@pytest.mark.slow
def test_verify_through_mlflow_run_is_two_runs(project: Project) -> None:
    project.just("run", "-e", "verify", "-P", "set=model.n_estimators=5")
    replayed, original = project.runs()
    assert original.data.tags["mlflow.project.entryPoint"] == "verify"
    assert original.data.tags["repro.verdict"] == "identical"
    assert {original.info.status, replayed.info.status} == {"FINISHED"}
