"""One seed, one result: whatever the shell, the folder and the process; and no switch that does nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, clone, copy_project, refused
from test_run import local_path

e2e = pytest.mark.e2e

#: What a shell may hold and must not matter.
FOREIGN_SHELL = {
    "PYTHONHASHSEED": "31337",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "C",
    "OMP_NUM_THREADS": "8",
    "OPENBLAS_NUM_THREADS": "8",
}
#: A training in which each stage depends on one switch, and on nothing else that a process may vary in.
ADVERSARIAL = """\
import random

import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier

from .reproducibility import Result


def train(settings, run):
    table = run.dataset(settings.dataset)
    X, y = table.drop(columns=settings.target).iloc[:, :5], table[settings.target]
    fixed = np.random.Generator(np.random.PCG64(0)).random((20_000, 64))
    fitted = KMeans(8, n_init=1, max_iter=10, random_state=0).fit(fixed)
    forest = RandomForestClassifier(5, random_state=None).fit(X, y)
    run.stage("PYTHONHASHSEED", list({word for name in table.columns for word in name.split("_")}))
    run.stage("random", [random.random() for _ in range(3)])
    run.stage("numpy.random", [np.random.rand(3), forest.predict_proba(X)])
    run.stage("run.rng", run.rng("noise").random(3))
    run.stage("OMP_NUM_THREADS", fitted.cluster_centers_)
    run.stage("OPENBLAS_NUM_THREADS", np.linalg.lstsq(fixed[:, 1:], fixed[:, 0], rcond=None)[0])
    steady = RandomForestClassifier(2, random_state=0).fit(X, y)
    return Result(steady, X, steady.predict(X), {"one": 1.0})
"""
#: The switches of seeds.py and launch.py that are shown to matter: (file, what is taken out, what is left).
SWITCHES = {
    "PYTHONHASHSEED": ("launch.py", '        "PYTHONHASHSEED": str(seed),\n', ""),
    "OMP_NUM_THREADS": ("launch.py", '    "OMP_NUM_THREADS",\n', ""),
    "OPENBLAS_NUM_THREADS": ("launch.py", '    "OPENBLAS_NUM_THREADS",\n', ""),
    "random": ("seeds.py", "    random.seed(seed)\n", ""),
    "numpy.random": ("seeds.py", "    np.random.seed(seed)", "    pass"),
    "run.rng": ("seeds.py", "np.random.SeedSequence(seed, spawn_key=key)", "np.random.SeedSequence()"),
}
#: The switches that cannot be shown to matter here, and why they stay.
UNSHOWN = {
    "MKL_NUM_THREADS": "NumPy and SciPy from conda are linked to Intel's MKL; the locked wheels are to OpenBLAS",
    "BLIS_NUM_THREADS": "NumPy from conda-forge or a Linux distribution may be linked to BLIS",
    "VECLIB_MAXIMUM_THREADS": "on macOS 14 and later NumPy's wheels are linked to Apple's Accelerate (vecLib)",
    "NUMEXPR_NUM_THREADS": "pandas computes with numexpr as soon as a project adds it to its dependencies",
}
#: Appends its process to a file whenever the package is imported, so at every start of `python -m`.
COUNTING = """\
import os

with open(os.environ["STARTS"], "a") as file:
    file.write(f"{os.getpid()}\\n")
"""


def train(project: Project, *settings: str, **variables: str) -> Any:
    """Train once; what the run logged, with its record and its output."""
    known = {run.info.run_id for run in project.runs()} if (project.path / "mlflow.db").exists() else set()
    arguments = [part for setting in settings for part in ("--set", setting)]
    output = project.just("train", *arguments, **variables).stdout
    [run] = [run for run in project.runs() if run.info.run_id not in known]
    record = recorded(run)
    assert record["result"] == run.data.tags["repro.result"]
    return {"output": output, "run": run, **record}


def recorded(run: Any) -> Any:
    """Read a run's record from the project's own store."""
    return json.loads((local_path(run.info.artifact_uri) / "record" / "record.json").read_text("utf-8"))


@pytest.fixture(scope="module", params=["classification", pytest.param("regression", marks=pytest.mark.slow)])
def base(request: pytest.FixtureRequest, set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project and its run with the conf's own seed, in a shell that sets nothing."""
    project = clone(set_up(request.param), tmp_path_factory.mktemp("base") / "bikes")
    return project, train(project)


@e2e
def test_one_seed_gives_one_result_in_another_shell_and_folder(base: Any, tmp_path: Path) -> None:
    project, first = base
    elsewhere = clone(project, tmp_path / "another folder ü")
    former = os.umask(0o077)
    try:
        again = train(elsewhere, **FOREIGN_SHELL)
    finally:
        os.umask(former)
    assert again["stages"] == first["stages"]
    assert again["metrics"] == first["metrics"]
    assert again["result"] == first["result"]
    assert again["launch"] == first["launch"]
    for name, theirs in FOREIGN_SHELL.items():
        if name in again["launch"]:
            ours = again["launch"][name]
            assert f"the conf sets {name}={ours}; the shell's '{theirs}' is not used" in again["output"]
    assert "notice" not in first["output"]


@e2e
def test_another_seed_gives_another_result(base: Any) -> None:
    project, first = base
    other = train(project, "seed=7")
    differing = {stage for stage in first["stages"] if other["stages"][stage] != first["stages"][stage]}
    assert differing >= {"split", "weights", "predictions", "metrics"}
    assert other["result"] != first["result"]
    assert other["launch"]["PYTHONHASHSEED"] == "7"


@e2e
def test_eight_threads_on_two_cores_repeat_themselves(base: Any) -> None:
    project, _ = base
    first, second = train(project, "threads=8"), train(project, "threads=8", **FOREIGN_SHELL)
    assert first["launch"]["OMP_NUM_THREADS"] == "8"
    assert first["stages"] == second["stages"]
    assert first["result"] == second["result"]


@e2e
def test_zero_is_a_seed(base: Any) -> None:
    project, fortytwo = base
    first, second = train(project, "seed=0"), train(project, "seed=0", PYTHONHASHSEED="random")
    assert first["stages"] == second["stages"]
    assert first["result"] == second["result"] != fortytwo["result"]
    assert first["launch"]["PYTHONHASHSEED"] == second["launch"]["PYTHONHASHSEED"] == "0"
    assert first["seeded"] == {"random": 0, "numpy.random": 0}
    assert first["run"].data.tags["repro.seed"] == "0"


@pytest.fixture(scope="module")
def adversarial(set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with the adversarial training, and its stages with every switch on."""
    project = clone(set_up("classification"), tmp_path_factory.mktemp("adversarial") / "bikes")
    (project.path / "bikes" / "train.py").write_text(ADVERSARIAL)
    return project, train(project)


@e2e
def test_with_every_switch_on_an_adversarial_training_repeats_itself(adversarial: Any) -> None:
    project, first = adversarial
    again = train(project, **FOREIGN_SHELL)
    assert again["stages"] == first["stages"]
    assert first["stages"].keys() >= SWITCHES.keys()


@e2e
@pytest.mark.parametrize("switch", SWITCHES)
def test_without_a_switch_exactly_its_stage_differs(adversarial: Any, tmp_path: Path, switch: str) -> None:
    original, first = adversarial
    project = clone(original, tmp_path / "bikes")
    name, old, new = SWITCHES[switch]
    module = project.path / "bikes" / "reproducibility" / name
    source = module.read_text("utf-8")
    assert source.count(old) == 1, f"{switch} is not where this test thinks"
    module.write_text(source.replace(old, new), "utf-8")
    without = train(project, **FOREIGN_SHELL)
    differing = {stage for stage in first["stages"] if without["stages"][stage] != first["stages"][stage]}
    assert differing == {switch}


@e2e
def test_no_switch_is_left_without_a_proof_or_a_reason(adversarial: Any) -> None:
    _, first = adversarial
    assert first["launch"].keys() | first["seeded"].keys() | {"run.rng"} == SWITCHES.keys() | UNSHOWN.keys()
    assert not SWITCHES.keys() & UNSHOWN.keys()


@e2e
def test_the_process_that_trains_has_the_recorded_launch_environment(project: Project) -> None:
    (project.path / "bikes" / "train.py").write_text(
        ADVERSARIAL.replace(
            "    table =",
            "    import os\n    import mlflow\n    mlflow.log_dict(dict(os.environ), 'environ.json')\n    table =",
            1,
        )
    )
    found = train(project, "threads=2", "seed=9")
    folder = local_path(found["run"].info.artifact_uri)
    environ = json.loads((folder / "environ.json").read_text("utf-8"))
    assert found["launch"] == {name: environ[name] for name in found["launch"]}
    assert found["launch"] == {name: "9" if name == "PYTHONHASHSEED" else "2" for name in found["launch"]}
    assert "REPRO_RESTARTED" not in environ, "children would take themselves for restarted"


@e2e
def test_training_starts_again_exactly_once_and_keeps_its_arguments(project: Project, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    (project.path / "bikes" / "__init__.py").write_text(COUNTING)
    python = str(project.path / ".venv" / "bin" / "python")
    name = """two words, 'single' "double" $HOME `id` \\ ü 🙂"""
    process = subprocess.Popen(
        [python, "-m", "bikes", "train", "--name", name, "--set", "model.n_estimators=10"],
        cwd=project.path,
        env=os.environ | {"STARTS": str(starts)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert starts.read_text().split() == [str(process.pid)] * 2
    [run] = project.runs()
    assert run.info.run_name == name

    starts.unlink()
    launch = {"PYTHONHASHSEED": "42"} | {name: "1" for name in [*SWITCHES, *UNSHOWN] if name.endswith("_THREADS")}
    project.run(python, "-m", "bikes", "train", "--set", "model.n_estimators=10", STARTS=str(starts), **launch)
    assert len(starts.read_text().split()) == 1, "nothing was to be changed"


@e2e
def test_the_exit_code_survives_the_restart(project: Project) -> None:
    (project.path / "bikes" / "train.py").write_text("def train(settings, run):\n    raise SystemExit(17)\n")
    assert "sys.exit(17)" in refused(project.just("train", check=False))
    [run] = project.runs()
    assert run.info.status == "FAILED"


@e2e
def test_where_the_environment_is_ignored_a_notice_stands_and_training_goes_on(
    project: Project, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    (project.path / "bikes" / "__init__.py").write_text(COUNTING)
    python = str(project.path / ".venv" / "bin" / "python")
    done = project.run(
        *(python, "-E", "-m", "bikes", "train", "--set", "model.n_estimators=10"),
        STARTS=str(starts),
    )
    assert "notice: the launch environment cannot be set" in done.stdout
    assert len(starts.read_text().split()) == 1
    [run] = project.runs()
    assert run.info.status == "FINISHED"
    record = recorded(run)
    assert record["launch"]["PYTHONHASHSEED"] == "ignored"


#: Drawn once and never to change: a run of years ago must give its numbers again.
PINNED = {
    (0, "split"): [1830674312, 3741284168, 765508383],
    (42, "split"): [3675525699, 2263087764, 1828655915],
    (42, "model"): [2817484726, 4148923440, 3362160913],
    (42, ""): [2905349107, 3294369614, 2689472112],
    (4294967295, "ü"): [1628675390, 1477072564, 1027141790],
}
STREAM = """\
import json
import sys

sys.path.insert(0, sys.argv[1])
from randomness_under_test.reproducibility.randomness.seeds import stream

pairs = [(0, "split"), (42, "split"), (42, "model"), (42, ""), (4294967295, "ü")]
print(json.dumps([[seed, name, stream(seed, name).integers(2**32, size=3).tolist()] for seed, name in pairs]))
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("rng") / "project", package_name="randomness_under_test")


def drawn(rendered: Path, *python: str, **variables: str) -> dict[tuple[int, str], list[int]]:
    done = subprocess.run(
        [*python, "-c", STREAM, str(rendered)],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {(seed, name): numbers for seed, name, numbers in json.loads(done.stdout)}


def test_named_streams_give_the_pinned_numbers_in_every_process(rendered: Path) -> None:
    assert drawn(rendered, sys.executable, PYTHONHASHSEED="1") == PINNED
    assert drawn(rendered, sys.executable, PYTHONHASHSEED="2", LC_ALL="C") == PINNED
    assert len({tuple(numbers) for numbers in PINNED.values()}) == len(PINNED)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_named_streams_give_the_pinned_numbers_on_every_python(rendered: Path, version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here: uv python install {version}")
    packages = ("--with", "numpy>=2.4", "--with", "click", "--with", "pyyaml", "--with", "packaging")
    assert drawn(rendered, "uv", "run", "--quiet", "--no-project", "--python", python, *packages, "python") == PINNED


def find_python(version: str) -> str | None:
    """An interpreter that is there; nothing is downloaded."""
    found = subprocess.run(
        ["uv", "python", "find", "--no-project", "--no-python-downloads", version], capture_output=True, text=True
    )
    if found.returncode == 0:
        return found.stdout.strip()
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    patches = sorted(root.glob(f"{version}.*/bin/python"), key=lambda path: int(path.parts[-3].split(".")[2]))
    return str(patches[-1]) if patches and shutil.which(str(patches[-1])) else None


def test_a_stream_does_not_depend_on_others(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(rendered))
    from randomness_under_test.reproducibility import Run  # type: ignore[import-not-found]

    alone = Run(42).rng("model").random(5).tolist()
    run = Run(42)
    run.rng("split").random(1000)
    run.rng("augmentation")
    assert run.rng("model").random(5).tolist() == alone
    assert run.rng("model").random(5).tolist() == alone, "a name always gives its stream from the start"
    names = ["model", "split", "Model", "model ", "", "model2", "0"]
    firsts = {run.rng(name).random() for name in names}
    seeds = {Run(seed).rng("model").random() for seed in (0, 1, 41, 42, 43, 2**32 - 1)}
    assert len(firsts) == len(names)
    assert len(seeds) == 6
