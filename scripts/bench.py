"""`just bench`: measure against what a person would otherwise use, side by side in one run."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TimeElapsedColumn, TimeRemainingColumn

import databases
import engines
import keeper
import releases
import sweeping

ROOT = Path(__file__).resolve().parents[1]
BARE = Path(__file__).with_name("bare.py")
BY_OPTUNA = Path(__file__).with_name("by_optuna.py")
NO_RECORD = Path(__file__).with_name("no_record.py")
OUTPUT = ROOT / "bench.json"
TOOLS = Path(sys.executable).parent
#: Writes a table of numbers with a target of two classes: rows and file are given.
TABLE = """
import sys, numpy as np, pandas as pd
rng = np.random.default_rng(0)
table = pd.DataFrame(rng.normal(size=(int(sys.argv[1]), 20)), columns=[f"x{i}" for i in range(20)])
table["y"] = (table.x0 + rng.normal(size=len(table)) > 0).astype(int)
table.to_parquet(sys.argv[2])
"""
#: Variables of the machine that would change what is measured.
FOREIGN = (
    "MLFLOW_",
    "OMP_",
    "OPENBLAS_",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "VIRTUAL_ENV",
    "GIT_",
    "COPIER_",
)


class Skipped(Exception):
    """A comparison that this machine cannot do, with the reason."""


@dataclass
class Row:
    """One comparison. `must` and `aim` are limits of `value`: the highest, or the lowest where `faster`; or None.

    `limited` says what `value` is: the "ratio", the "difference" or our "time" in seconds, or our "rate", in GB/s.
    """

    what: str
    must: float | None
    aim: float | None
    faster: bool = False
    ours: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    kept: bool = True
    limited: str = "ratio"
    bytes: int = 0

    @property
    def value(self) -> float:
        """Give what the limits are of."""
        ours = statistics.median(self.ours)
        match self.limited:
            case "difference":
                return ours - statistics.median(self.other)
            case "time":
                return ours
            case "rate":
                return self.bytes / ours / 1e9
        return self.ratio

    @property
    def unit(self) -> str:
        return {"ratio": "", "rate": " GB/s"}.get(self.limited, " s")

    @property
    def ratio(self) -> float:
        """Median by median: ours over other's time, or the inverse where the goal is to be faster."""
        ours, other = statistics.median(self.ours), statistics.median(self.other)
        return other / ours if self.faster else ours / other

    @property
    def verdict(self) -> str:
        """Tell whether the limits are kept."""

        def within(limit: float) -> bool:
            return self.value >= limit if self.faster else self.value <= limit

        if self.must is None:
            return "as measured"
        if not self.kept or not within(self.must):
            return "MISSED"
        return "ok" if self.aim is None or not within(self.aim) else "ok, aim reached"


@dataclass
class Bench:
    """What the comparisons share: a folder, a rendered project with its environment, and how often to repeat."""

    folder: Path
    quick: bool
    made: dict[str, Path] = field(default_factory=dict)

    def repetitions(self, usual: int) -> int:
        return 1 if self.quick else usual

    def project(
        self, python: str = f"{sys.version_info.major}.{sys.version_info.minor}", framework: str = "scikit-learn"
    ) -> Path:
        """Give a committed classification project with `.venv` and one run behind it."""
        key = f"{framework}-{python}"
        if key not in self.made:
            path = self.folder / f"bikes-{key}"
            command = [str(TOOLS / "copier"), "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD"]
            answers = {
                "project_name": "bikes",
                "package_name": "bikes",
                "python_version": python,
                "framework": framework,
            }
            for name, value in answers.items():
                command += ["--data", f"{name}={value}"]
            run([*command, str(ROOT), str(path)], self.folder)
            commit(path)
            run(["just", "setup"], path)
            run(["just", "train"], path)
            self.made[key] = path
        return self.made[key]

    def bare(self, project: Path) -> Path:
        """Give a committed folder with the bare script, which has run once."""
        path = self.folder / "bare"
        if not path.exists():
            path.mkdir()
            shutil.copy(BARE, path / "train.py")
            (path / ".gitignore").write_text("*.db\nmlruns/\n")
            commit(path)
            run([*python_of(project), "train.py", str(project), "--track"], path)
        return path


def cold_run(bench: Bench) -> Iterator[Row]:
    """Cold `just run` against MLflow's own default: virtualenv and pip, through pyenv."""
    if shutil.which("pyenv") is None:
        raise Skipped("pyenv is not on the PATH; MLflow's default way to build environments needs it")
    versions = run(["pyenv", "versions", "--bare"], bench.folder).split()
    exact = [v for v in versions if re.fullmatch(rf"3\.{sys.version_info.minor}\.\d+", v)]
    if not exact:
        raise Skipped(f"pyenv has no Python 3.{sys.version_info.minor}: pyenv install 3.{sys.version_info.minor}")
    project = bench.project(exact[-1])
    mlflow = project / ".venv" / "bin" / "mlflow"
    count = 0

    def fresh(command: list[str]) -> Callable[[], float]:
        def once() -> float:
            nonlocal count
            count += 1
            for path in [*project.glob("mlflow.db*"), project / "mlruns"]:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            environments = bench.folder / f"environments-{count}"
            # In both, the store is the project's own and new.
            variables = {"MLFLOW_ENV_ROOT": str(environments), "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
            elapsed = clock(command, project, **variables)
            shutil.rmtree(environments)
            return elapsed

        return once

    row = Row("cold `just run` / `mlflow run` by virtualenv and pip", 4.5, 6, faster=True)
    ours, other = fresh(["just", "run"]), fresh([str(mlflow), "run", "."])
    ours(), other()  # fill the package caches of both
    alternate(row, ours, other, bench.repetitions(2))
    yield row


def train(bench: Bench) -> Iterator[Row]:
    """`just train` against a bare script: with the same MLflow calls, and with no tracking at all."""
    project = bench.project()
    bare = bench.bare(project)
    script = [*python_of(project), "train.py", str(project)]
    tracked = Row("`just train` / bare script, same MLflow calls", 1.15, 1.05)
    plain = Row("`just train` / the same fit, no tracking", 2.6, 2.0)
    run(script, bare)
    for _ in range(bench.repetitions(7)):
        ours = clock(["just", "train"], project)
        tracked.ours.append(ours)
        plain.ours.append(ours)
        tracked.other.append(clock([*script, "--track"], bare))
        plain.other.append(clock(script, bare))
    yield tracked
    yield plain


def warm_run(bench: Bench) -> Iterator[Row]:
    """Warm `just run` against the bare script that tracks; also where no bytecode may be written."""
    project = bench.project()
    bare = bench.bare(project)
    run(["just", "run"], project)
    row = Row("warm `just run` / bare script, same MLflow calls", 2.2, 1.8)
    script = [*python_of(project), "train.py", str(project), "--track"]
    alternate(row, lambda: clock(["just", "run"], project), lambda: clock(script, bare), bench.repetitions(5))
    yield row

    # Under that variable an environment stays as it was installed: uv compiles nothing.
    fresh = bench.folder / "without-bytecode"
    run(["uv", "venv", "--quiet", "--python", *python_of(project), str(fresh)], project)
    python = str(fresh / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    run(["uv", "pip", "sync", "--quiet", "--python", python, "--require-hashes", "constraints.txt"], project)
    row = Row("the same where PYTHONDONTWRITEBYTECODE=1", 2.2, 1.8)
    unset = {"PYTHONDONTWRITEBYTECODE": "1"}
    script = [python, "train.py", str(project), "--track"]
    alternate(
        row,
        lambda: clock(["just", "run"], project, **unset),
        lambda: clock(script, bare, **unset),
        bench.repetitions(5),
    )
    yield row


#: What a person would write who wants an image with the same packages.
PLAIN = """
FROM {base}
COPY constraints.txt .
RUN pip install --no-cache-dir -r constraints.txt
COPY . /app
WORKDIR /app
"""


def containers(bench: Bench) -> Iterator[Row]:
    """`just run --container` against `just run`; the image against one by a plain `pip install -r`."""
    project = bench.project()
    owner = os.getpid()
    try:
        docker, podman = engines.docker(owner), engines.podman(owner)
        version = docker.run("docker", "version", "--format", "{{.Server.Version}}").stdout.strip()
        row = Row("warm `just run --container` / warm `just run`", 1.3, 1.1, notes={"engine": f"docker {version}"})
        inside = partial(clock, ["just", "run", "--container"], project, **docker.environment)
        outside = partial(clock, ["just", "run"], project)
        inside(), outside()
        alternate(row, inside, outside, bench.repetitions(5))
        yield row

        # Docker's builders cannot see uv's cache; buildah can.
        version = podman.run("buildah", "--version").stdout.split()[2]
        notes = {"builder": f"buildah {version}", "engine": podman.run("podman", "--version").stdout.strip()}
        plain = bench.folder / "Dockerfile.plain"
        plain.write_text(PLAIN.format(base=engines.BASE))
        row = Row("image from a warm uv cache / by `pip install -r`", 2, 4, faster=True, notes=notes)
        ours = ["just", "image", "--no-cache"]
        other = ["podman", "build", "--no-cache", "--tag", "plain", "--file", str(plain), "."]
        variables = podman.environment | {"CONTAINER_ENGINE": "podman"}
        build, install = partial(clock, ours, project, **variables), partial(clock, other, project, **variables)
        alternate(row, build, install, bench.repetitions(2))
        yield row

        sizes = [
            int(podman.run("podman", "image", "inspect", "--format", "{{.Size}}", image).stdout) / 1e6
            for image in (f"bikes:{run(['git', 'rev-parse', 'HEAD'], project)[:12]}", "plain")
        ]
        yield Row("size of that image / of the plain one", 1, 0.8, ours=sizes[:1], other=sizes[1:], notes={"in": "MB"})
    except engines.Unavailable as reason:
        raise Skipped(str(reason)) from reason
    finally:
        engines.stop(owner)


def copy(bench: Bench) -> Iterator[Row]:
    """`copier copy` against cookiecutter on the same tree: both from a plain folder, and both from a git repository."""
    template = bench.folder / "template"
    # Plain files, uncommitted work included, without the history.
    for name in run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], ROOT).splitlines():
        if name in ("copier.yml", "reserved_names.txt") or name.startswith("template/"):
            (template / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, template / name)
    copier = [str(TOOLS / "copier"), "copy", "--quiet", "--defaults", "--data", "project_name=bikes"]
    baked = [str(TOOLS / "cookiecutter"), "--no-input", "--overwrite-if-exists"]
    counter = iter(range(10**6))

    def once(command: list[str], source: str, *target: str) -> float:
        place = bench.folder / "copies" / str(next(counter))
        place.parent.mkdir(exist_ok=True)
        return clock([*command, source, *target, str(place)], bench.folder)

    once(copier, str(template))
    rendered = bench.folder / "copies" / "0"
    oven = to_cookiecutter(rendered, bench.folder / "oven")
    once(baked, str(oven), "--output-dir")
    made = bench.folder / "copies" / "1" / "bikes"
    if files(made) != files(rendered):
        raise RuntimeError(f"cookiecutter made other files: {files(made) ^ files(rendered)}")

    row = Row("`copier copy` / cookiecutter, from a folder", 2.5, 2.0, notes={"files": len(files(rendered))})
    repeat = bench.repetitions(9)
    alternate(row, lambda: once(copier, str(template)), lambda: once(baked, str(oven), "--output-dir"), repeat)
    yield row

    for repository in (template, oven):
        commit(repository)
        run(["git", "tag", "0.1.0"], repository)
    row = Row("`copier copy` / cookiecutter, from git", 2.5, 2.0, notes={"files": len(files(rendered))})
    ours, other = f"git+{template.as_uri()}", f"git+{oven.as_uri()}"
    alternate(row, lambda: once(copier, ours), lambda: once(baked, other, "--output-dir"), repeat)
    yield row


def digest(bench: Bench) -> Iterator[Row]:
    """The digest of a 1 GiB file against sha256sum; its memory stays below 100 MB."""
    if shutil.which("sha256sum") is None:
        raise Skipped("sha256sum is not on the PATH")
    file = bench.folder / "large.bin"
    size = (1 << 26) if bench.quick else (1 << 30)
    with file.open("wb") as out:
        block = os.urandom(1 << 22)
        for _ in range(size // len(block)):
            out.write(block)
    module = ROOT / "template" / "{{ package_name }}" / "reproducibility" / "common" / "digest.py"
    program = (
        "import importlib.util, pathlib, resource, sys\n"
        "spec = importlib.util.spec_from_file_location('digest', sys.argv[1])\n"
        "digest = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(digest)\n"
        "print(digest.of_file(pathlib.Path(sys.argv[2])), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", program, str(module), str(file)]
    found, peak = run(command, bench.folder).split()
    if found != "sha256:" + run(["sha256sum", str(file)], bench.folder).split()[0]:
        raise RuntimeError(f"{found} is not what sha256sum says")
    memory = int(peak) * (1 if sys.platform == "darwin" else 1024) / 1e6
    row = Row(f"digest of {size >> 20} MiB / sha256sum", 1.1, None, notes={"peak memory, MB": round(memory)})
    row.kept = memory < 100
    alternate(
        row,
        lambda: clock(command, bench.folder),
        lambda: clock(["sha256sum", str(file)], bench.folder),
        bench.repetitions(5),
    )
    file.unlink()
    yield row


#: Writes so many files of random bytes into a folder: number, size of each and folder are given.
PICTURES = """
import os, pathlib, sys
count, size, folder = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
noise = os.urandom(size + count)
for number in range(count):
    file = folder / f"{number % 200:03}" / f"{number:05}.bin"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(noise[number : number + size])
"""
#: Reads all of them in a training, before what it does anyway.
READING = """
def train(settings, run):
    run.stage("bytes", sum(len(file.read_bytes()) for file in run.path("pictures").rglob("*.bin")))
    return _train(settings, run)
"""
#: Takes the place of what gives a replay its data: they are where they are.
NO_COPY = """
def put(entries, project, *options):
    for entry in entries:
        target = project / entry.path
        for file, target in ((entry.file, target), (entry.listing, entry.listing_of(target))):
            if file.exists() and not target.exists():
                target.symlink_to(file)
    return []
"""


def data(bench: Bench) -> Iterator[Row]:
    """A folder of 20,000 files, 2 GB: registered and verified, against sha256sum; and replayed, against no copy."""
    if shutil.which("sha256sum") is None:
        raise Skipped("sha256sum is not on the PATH")
    folder = bench.folder / "pictures"
    copy_code(bench.project(), folder)
    run(["just", "setup"], folder)
    count = 1000 if bench.quick else 20_000
    run([*python_of(folder), "-c", PICTURES, str(count), "100000", "data/pictures"], folder)
    on_all_cores = f"xargs --null --max-procs {os.cpu_count()}"
    (folder / "parts").mkdir()
    other = (
        f"find data/pictures -type f -print0 | {on_all_cores} --max-args {count // 40} sha256sum > sums"
        " && split --number l/40 sums parts/"
        f" && find parts -type f -print0 | {on_all_cores} --max-args 1 sha256sum --check --quiet"
    )
    # Without the copy in the tracking store, which `sha256sum` does not make either.
    added = ["just", "data-add", "data/pictures", "--limit", str(10**12)]

    def ours() -> float:
        seconds, peak = clock_and_peak(added, folder)
        row.notes["peak memory, MB"] = round(peak / 1e6)
        row.kept &= peak < 300e6
        return seconds + clock(["just", "data-check"], folder)

    row = Row(f"register and verify {count:,} files, {count / 1e4:g} GB / `sha256sum`, `sha256sum --check`", 1.25, 1.0)
    alternate(row, ours, lambda: clock(["sh", "-c", other], folder), bench.repetitions(5))
    yield row

    shutil.rmtree(folder / "parts")
    (folder / "sums").unlink()
    train = folder / "bikes" / "train.py"
    train.write_text(train.read_text("utf-8").replace("def train(", "def _train(") + READING, "utf-8")
    run(["just", "data-add", "data/pictures"], folder)
    commit(folder)
    run(["just", "train"], folder)
    reproduced = ["just", "reproduce", "last"]
    run(reproduced, folder)
    module = folder / "bikes" / "reproducibility" / "proof" / "replay_data.py"
    text = module.read_text("utf-8")

    def without() -> float:
        module.write_text(text + NO_COPY, "utf-8")
        seconds = clock(reproduced, folder)
        module.write_text(text, "utf-8")
        return seconds

    row = Row(f"replay of a run with {count / 1e4:g} GB of data / the same without a copy of them", 1.05, None)
    alternate(row, lambda: clock(reproduced, folder), without, bench.repetitions(5))
    shutil.rmtree(folder)
    yield row


#: Three steps, one after the other, each the training of the example.
STEPS = """
from .reproducibility import Experiment, Train, main


def training() -> tuple[type, Train]:
    from .settings import Settings
    from .train import train

    return Settings, train


def experiment() -> Experiment:
    return Experiment(steps=dict.fromkeys(("first", "second", "train"), training))


if __name__ == "__main__":
    main(experiment)
"""


def pipeline(bench: Bench) -> Iterator[Row]:
    """`just pipeline`: with nothing to do against the import of MLflow, and a step of it against `just train`."""
    plain = bench.project()
    folder = bench.folder / "steps"
    copy_code(plain, folder)
    run(["just", "setup"], folder)
    (folder / "bikes" / "__main__.py").write_text(STEPS, "utf-8")
    conf = (folder / "confs" / "train.yaml").read_text("utf-8")
    for step, before in (("first", None), ("second", "first"), ("train", "second")):
        needs = f"\ninputs:\n  before: step:{before}/model\n" if before else ""
        (folder / "confs" / f"{step}.yaml").write_text(conf + needs, "utf-8")
    commit(folder)
    run(["just", "pipeline"], folder)
    row = Row("`just pipeline` of three steps, nothing to do / `import mlflow`", 3, 1, limited="difference")
    importing = [*python_of(folder), "-c", "import mlflow"]
    done = partial(clock, ["just", "pipeline"], folder)
    alternate(row, done, lambda: clock(importing, folder), bench.repetitions(7))
    yield row

    # Beyond what the pipeline itself takes, which the row above says.
    row = Row("a step more in `just pipeline` / `just train` of the same", 1.1, None)
    every = partial(clock, ["just", "pipeline", "--fresh"], folder)
    alternate(row, lambda: (every() - done()) / 3, lambda: clock(["just", "train"], plain), bench.repetitions(5))
    yield row


#: The conf of a sweep that changes nothing which takes time.
SWEEP = """\
space: {{{name}: {{type: float, low: {low}, high: {high}}}}}
sampler: random
trials: {trials}
batch: {trials}
metric: accuracy
direction: maximize
"""
#: Prints the seconds of a fit with so many trees.
FIT = """
import sys, time
from bikes.__main__ import experiment
from bikes.reproducibility import conf
from bikes import features, model
from bikes.reproducibility.training.run_object import Run
from pathlib import Path
settings = conf.validate(conf.load(Path("confs/train.yaml"), (f"model.n_estimators={sys.argv[1]}",)), experiment()[0])
run = Run(1)
X, y = features.columns(run.dataset(settings.dataset), settings)
pipeline = model.build(X, settings, run.rng("model"))
began = time.perf_counter()
pipeline.fit(X.sample(frac=0.75, random_state=0), y.sample(frac=0.75, random_state=0))
print(time.perf_counter() - began)
"""


def sweeps(bench: Bench) -> Iterator[Row]:
    """`just sweep`: what a trial costs beyond its fit, and many of them against Optuna in threads of one process."""
    folder = bench.folder / "sweeps"
    copy_code(bench.project(), folder)
    run(["just", "setup"], folder)

    def swept(trials: int, trees: int, workers: int) -> float:
        conf = SWEEP.format(name="model.max_samples", low=0.79, high=0.81, trials=trials)
        (folder / "confs" / "sweep.yaml").write_text(conf, "utf-8")
        command = ["just", "sweep", "--workers", str(workers), "--set", f"model.n_estimators={trees}"]
        return clock(command, folder)

    def seconds(trees: int) -> float:
        return float(run([*python_of(folder), "-c", FIT, str(trees)], folder))

    row = Row("what a trial costs, its fit of one tree included", 1.0, 0.3, limited="time")
    swept(2, 1, 1)
    for _ in range(bench.repetitions(5)):
        row.ours.append((swept(14, 1, 1) - swept(4, 1, 1)) / 10)
        row.other.append(seconds(1))
    yield row

    trees = round(200 / seconds(200))
    trees = round(trees / seconds(trees))  # what a fit costs whatever its trees weighs less now
    fit = seconds(trees)
    trials = 10 if bench.quick else 100
    search = bench.folder / "search"
    search.mkdir()
    by_optuna = [*python_of(folder), str(BY_OPTUNA), str(folder), str(trials), str(trees)]
    ideal = Row(f"{trials} trials of a fit of {fit:.1f} s on 2 workers / the fits alone, on two cores", 1.6, 1.2)
    against = Row("the same / Optuna in two threads, with a run of MLflow for each trial", 1.3, 1.0)
    for _ in range(bench.repetitions(2)):
        against.ours.append(swept(trials, trees, 2))
        against.other.append(clock(by_optuna, search))
    ideal.ours, ideal.other = against.ours, [trials * fit / 2]
    yield ideal
    yield against


def fresh_trials(bench: Bench) -> Iterator[Row]:
    """A trial of a network, which is a process of its own, against `just train`."""
    folder = bench.folder / "networks"
    copy_code(bench.project(framework="pytorch"), folder)
    run(["just", "setup"], folder)

    def swept(trials: int) -> float:
        conf = SWEEP.format(name="model.dropout", low=0.1, high=0.2, trials=trials)
        (folder / "confs" / "sweep.yaml").write_text(conf, "utf-8")
        return clock(["just", "sweep", "--workers", "1", "--set", "model.epochs=3"], folder)

    row = Row("a trial of a network / `just train` of the same", 1.1, None)
    training = partial(clock, ["just", "train", "--set", "model.epochs=3"], folder)
    training()
    # Of two trials or more, a sweep draws the same pictures.
    alternate(row, lambda: (swept(5) - swept(2)) / 3, training, bench.repetitions(4))
    yield row


def planner(bench: Bench) -> Iterator[Row]:
    """The best value of 40 trials in batches of 8 against TPE one after another: three functions, 20 seeds of each."""
    row = Row("best value of 40 trials in batches of 8 / of TPE one after another", 1.15, 1.05)
    for function in sweeping.FUNCTIONS:
        ours, other = sweeping.best_values(function, 40, 8, 3 if bench.quick else 20)
        typical = statistics.median(other)
        row.ours += [value / typical for value in ours]
        row.other += [value / typical for value in other]
        row.notes[function.__name__] = round(statistics.median(ours) / typical, 2)
    yield row


def launcher(bench: Bench) -> Iterator[Row]:
    """Trials of no time for 200 simulated workers: the launcher's own throughput, and that of real stores."""
    trials = 1_000 if bench.quick else 10_000
    row = Row(f"{trials:,} trials of no time, 200 simulated workers", trials / 50, trials / 200, limited="time")
    row.ours = [sweeping.launched(trials, 200, sweeping.Counting()) for _ in range(bench.repetitions(3))]
    row.other = row.ours
    yield row

    trials = 50 if bench.quick else 300

    def stored(name: str, uri: str) -> Row:
        row = Row(f"{trials} of them, their runs in {name} through MLflow's client", None, None, limited="time")
        store = sweeping.Stored(uri, bench.folder / "launcher")
        row.ours = [sweeping.launched(trials, 200, store) for _ in range(bench.repetitions(3))]
        row.other = row.ours
        row.notes["trials a second"] = round(trials / row.value)
        return row

    yield stored("sqlite", f"sqlite:///{bench.folder}/launcher.db")
    try:
        with databases.postgresql() as uri:
            yield stored("PostgreSQL", uri)
    except keeper.Unavailable as reason:
        raise Skipped(str(reason)) from reason


def record(bench: Bench) -> Iterator[Row]:
    """`just train` against the same project with a record that keeps nothing."""
    project = bench.project()
    plain = bench.folder / "without-record"
    copy_code(project, plain)
    module = plain / "bikes" / "reproducibility" / "record" / "recorder.py"
    module.write_text(module.read_text("utf-8") + NO_RECORD.read_text("utf-8"), "utf-8")
    run(["just", "setup"], plain)
    for folder in (plain, project):
        run(["just", "train"], folder)
    row = Row("what the record adds to `just train`", 0.6, 0.3, limited="difference")
    alternate(
        row,
        lambda: clock(["just", "train"], project),
        lambda: clock(["just", "train"], plain),
        bench.repetitions(9),
    )
    yield row


def large(bench: Bench) -> Iterator[Row]:
    """One small tree on tables of more and more rows: `just train` against the bare script, time and memory."""
    project = bench.project()
    folder = bench.folder / "large"
    copy_code(project, folder)
    run(["just", "setup"], folder)
    bare = bench.bare(project)
    for rows in (1_000, 10_000) if bench.quick else (1_000, 100_000, 3_000_000):
        run([*python_of(project), "-c", TABLE, str(rows), "data/rows.parquet"], folder)
        run(["just", "data-add", "data/rows.parquet", "--limit", "1000000000"], folder)
        conf = folder / "confs" / "train.yaml"
        text = conf.read_text("utf-8")
        for key, value in {"dataset": "rows", "target": "y", "n_estimators": "1", "max_depth": "3"}.items():
            text = re.sub(rf"^( *){key}: \S+", rf"\g<1>{key}: {value}", text, flags=re.MULTILINE)
        conf.write_text(text, "utf-8")
        script = [*python_of(project), "train.py", str(folder), "--track"]
        time_row = Row(f"`just train` / bare script, {rows:,} x 21", 1.3, 1.15)
        memory = Row(f"the same, peak memory in GB, {rows:,} x 21", 1.15, None)
        for _ in range(bench.repetitions(5)):
            for command, where, side in ((["just", "train"], folder, "ours"), (script, bare, "other")):
                seconds, peak = clock_and_peak(command, where)
                getattr(time_row, side).append(seconds)
                getattr(memory, side).append(peak / 1e9)
        time_row.notes["MB read"] = round((folder / "data" / "rows.parquet").stat().st_size / 1e6, 1)
        yield time_row
        yield memory


def model_content(bench: Bench) -> Iterator[Row]:
    """The content digest of a forest of 500 trees against its fit, on as many rows as the example has, and on more."""
    program = (
        "import json, sys, time\n"
        "from sklearn.datasets import load_breast_cancer, make_classification\n"
        "from sklearn.ensemble import RandomForestClassifier\n"
        "from bikes.reproducibility.modeling.content import Content\n"
        "def timed(do):\n"
        "    began = time.perf_counter()\n"
        "    do()\n"
        "    return time.perf_counter() - began\n"
        "rows = load_breast_cancer(return_X_y=True), make_classification(5000, 20, random_state=0)\n"
        "for X, y in rows:\n"
        "    forest = RandomForestClassifier(500, random_state=0)\n"
        "    fit = lambda: forest.fit(X, y)\n"
        "    fit(), Content(forest)\n"
        "    times = [[timed(lambda: Content(forest)), timed(fit)] for _ in range(int(sys.argv[1]))]\n"
        "    print(json.dumps([len(X), times]))\n"
    )
    found = run([*python_of(bench.project()), "-c", program, str(bench.repetitions(5))], bench.project())
    for line in found.splitlines():
        size, times = json.loads(line)
        row = Row(f"content digest of a forest of 500 trees / its fit, {size:,} rows", 0.1, None)
        row.ours, row.other = map(list, zip(*times, strict=True))
        yield row


def capture(bench: Bench) -> Iterator[Row]:
    """The capture of uncommitted work in a repository of 5,000 more files; git's own commands for scale."""
    project = bench.project()
    many = bench.folder / "many"
    copy_code(project, many)
    count = 500 if bench.quick else 5000
    for number in range(count):
        file = many / "many" / f"{number // 100}" / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}\n" * 20)
    commit(many)
    for number in range(0, 200, 20):
        (many / "many" / f"{number // 100}" / f"{number}.txt").write_text("changed\n")
    for number in range(5):
        (many / "many" / f"{number}-new.txt").write_text("new\n")
        (many / "many" / "3" / f"{300 + number}.txt").unlink()
    program = (
        "import json, sys, time\n"
        "from bikes.reproducibility.common.project import ROOT\n"
        "from bikes.reproducibility.source import capture, git as the_git\n"
        "def git():\n"
        "    the_git.run_git('stash', 'create', folder=ROOT)\n"
        "    the_git.run_git('add', '--all', '--dry-run', folder=ROOT)\n"
        "found = capture.capture()\n"
        "if found.patch.count(b'diff --git ') != 20:\n"
        "    raise SystemExit(f'not the 20 files that were changed: {found}')\n"
        "def timed(do):\n"
        "    began = time.perf_counter()\n"
        "    do()\n"
        "    return time.perf_counter() - began\n"
        "git()\n"
        "print(json.dumps([[timed(capture.capture), timed(git)] for _ in range(int(sys.argv[1]))]))\n"
    )
    times = json.loads(run([*python_of(project), "-c", program, str(bench.repetitions(15))], many))
    row = Row(f"capture of uncommitted work, {count:,} files / git stash create, git add -n", 0.1, None, limited="time")
    row.ours, row.other = map(list, zip(*times, strict=True))
    yield row


def reproduce(bench: Bench) -> Iterator[Row]:
    """`just reproduce` against the warm `just run` that it executes again."""
    project = bench.project()
    [run_id] = re.findall(r"^run +([0-9a-f]{32})$", run(["just", "run"], project), re.MULTILINE)
    command = ["just", "reproduce", run_id]
    run(command, project)
    row = Row("`just reproduce` / warm `just run`", 1.8, 1.4)
    alternate(row, lambda: clock(command, project), lambda: clock(["just", "run"], project), bench.repetitions(5))
    yield row


def weights(bench: Bench) -> Iterator[Row]:
    """The digest of arrays of numbers against SHA-256 of the same memory."""
    program = (
        "import hashlib, importlib.util, json, sys, time\n"
        "import numpy as np\n"
        "spec = importlib.util.spec_from_file_location('digest', sys.argv[1])\n"
        "digest = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(digest)\n"
        "size, times = int(sys.argv[2]) // 8, int(sys.argv[3])\n"
        "rng = np.random.default_rng(0)\n"
        "layers = [rng.random((100, size // 500)) for _ in range(4)]\n"
        "value = {'weights': dict(zip('abcd', layers)), 'predictions': rng.random(size // 5)}\n"
        "def plain():\n"
        "    sha256 = hashlib.sha256()\n"
        "    for array in [*layers, value['predictions']]:\n"
        "        sha256.update(array)\n"
        "def timed(do):\n"
        "    began = time.perf_counter()\n"
        "    do()\n"
        "    return time.perf_counter() - began\n"
        "digest.of_value(value)\n"
        "print(json.dumps([[timed(lambda: digest.of_value(value)), timed(plain)] for _ in range(times)]))\n"
    )
    module = ROOT / "template" / "{{ package_name }}" / "reproducibility" / "common" / "digest.py"
    size = 10_000_000 if bench.quick else 100_000_000
    command = [sys.executable, "-c", program, str(module), str(size), str(bench.repetitions(15))]
    what = f"digest of {size // 10**6} MB of weights and predictions / SHA-256"
    row = Row(what, 1, None, faster=True, limited="rate", bytes=size)
    row.ours, row.other = map(list, zip(*json.loads(run(command, bench.folder)), strict=True))
    yield row


def determinism(bench: Bench) -> Iterator[Row]:
    """A training with the strict settings against the framework's defaults; the second of a process, on one thread.

    XGBoost and scikit-learn have no switch that could be left out.
    """
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from bikes.reproducibility import Run, conf\n"
        "from bikes.reproducibility.framework import FRAMEWORK\n"
        "from bikes.settings import Settings\n"
        "from bikes.train import train\n"
        "if sys.argv[1] == 'strict':\n"
        "    FRAMEWORK.set_deterministic(warn_only=False)\n"
        "settings = Settings.model_validate(conf.load(Path('confs/train.yaml'), ()))\n"
        "train(settings, Run(1))\n"
        "began = time.perf_counter()\n"
        "train(settings, Run(1))\n"
        "print(time.perf_counter() - began)\n"
    )
    one = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    for framework, switches in {
        "pytorch": (),
        "tensorflow": (),
        "lightgbm": ('                "deterministic": True,\n', '                "force_row_wise": True,\n'),
    }.items():
        strict = bench.project(framework=framework)
        loose = bench.folder / f"loose-{framework}"
        copy_code(strict, loose)
        module = loose / "bikes" / "fit.py"
        for switch in switches:
            source = module.read_text("utf-8")
            if switch not in source:
                raise RuntimeError(f"{module} has no line {switch!r} to take out")
            module.write_text(source.replace(switch, ""), "utf-8")
        command = [*python_of(strict), "-c", program]

        def seconds(switch: str, folder: Path, command: list[str] = command) -> float:
            return float(run([*command, switch], folder, OMP_NUM_THREADS="1", **one))

        row = Row(f"training with {framework}, strict / its defaults", 1.3, None)
        alternate(row, partial(seconds, "strict", strict), partial(seconds, "loose", loose), bench.repetitions(3))
        yield row


def template_update(bench: Bench) -> Iterator[Row]:
    """A default project of the first release, updated by ours and by Copier; without the locks and checks after it."""
    source, history = history_of(bench.folder / "template-history")
    first = next(iter(history))
    original = bench.folder / "of-the-first-release"
    answers = ["--defaults", "--vcs-ref", first, "--data", "project_name=bikes", "--data", "package_name=bikes"]
    run([str(TOOLS / "copier"), "copy", "--quiet", *answers, str(source), str(original)], bench.folder)
    commit(original)
    program = (
        "import pathlib\n"
        "from copier_mlflow import merge, update\n"
        "project = pathlib.Path.cwd()\n"
        "update.require_clean(project)\n"
        "prepared = update.prepare(project)\n"
        "merge.write(project, merge.results(prepared.changes))\n"
        "merge.mark(project, prepared.changes)\n"
    )
    counter = iter(range(10**6))

    def once(command: list[str]) -> float:
        project = bench.folder / "updates" / str(next(counter))
        shutil.copytree(original, project)
        return clock(command, project, PYTHONPATH=str(ROOT))

    row = Row(f"update from {first} / `copier update`", 2.0, None)
    ours, other = [sys.executable, "-c", program], [str(TOOLS / "copier"), "update", "--quiet", "--defaults"]
    alternate(row, lambda: once(ours), lambda: once(other), bench.repetitions(5))
    yield row


def fleet(bench: Bench) -> Iterator[Row]:
    """`copier-mlflow status` over fifty projects, against one `git status` in each of them."""
    project = bench.project()
    paths = []
    for number in range(50):
        paths.append(bench.folder / "fleet" / str(number))
        copy_code(project, paths[-1])
        shutil.copyfile(project / "mlflow.db", paths[-1] / "mlflow.db")
    row = Row("`copier-mlflow status` of fifty projects / `git status` in each", 5.0, None, limited="time")
    command = [sys.executable, "-m", "copier_mlflow", "status", *map(str, paths)]

    def ask_git() -> float:
        return sum(clock(["git", "status", "--porcelain"], path) for path in paths)

    alternate(row, lambda: clock(command, ROOT), ask_git, bench.repetitions(5))
    yield row


def history_of(folder: Path) -> tuple[Path, dict[str, str]]:
    """Clone the template, tag its releases, and HEAD as a newer one."""
    run(["git", "clone", "--quiet", str(ROOT), str(folder)], ROOT)
    history = releases.find(folder)
    for version, of in [*history.items(), ("99.0.0", "HEAD")]:
        run(["git", "tag", "--force", version, of], folder)
    return folder, history


class Comparison(NamedTuple):
    """How something is measured, and about how many minutes that takes on 2 cores, environments included."""

    measure: Callable[[Bench], Iterable[Row]]
    minutes: float


BENCHES: dict[str, Comparison] = {
    "digest": Comparison(digest, 0.5),
    "data": Comparison(data, 6),
    "copy": Comparison(copy, 1),
    "train": Comparison(train, 1.5),
    "warm": Comparison(warm_run, 3),
    "cold": Comparison(cold_run, 5),
    "containers": Comparison(containers, 6),
    "pipeline": Comparison(pipeline, 3),
    "sweeps": Comparison(sweeps, 8),
    "networks": Comparison(fresh_trials, 4),
    "planner": Comparison(planner, 0.5),
    "launcher": Comparison(launcher, 2),
    "record": Comparison(record, 1.5),
    "capture": Comparison(capture, 0.5),
    "reproduce": Comparison(reproduce, 1.5),
    "weights": Comparison(weights, 0.5),
    "large": Comparison(large, 4),
    "content": Comparison(model_content, 0.5),
    "determinism": Comparison(determinism, 8),
    "update": Comparison(template_update, 0.5),
    "fleet": Comparison(fleet, 0.5),
}


def alternate(row: Row, ours: Callable[[], float], other: Callable[[], float], times: int) -> None:
    """Measure A, B, A, B, so that a busy minute of the machine falls on both."""
    for _ in range(times):
        row.ours.append(ours())
        row.other.append(other())


def clock(command: list[str], folder: Path, **variables: str) -> float:
    """Run a command and give the seconds it took."""
    began = time.perf_counter()
    run(command, folder, **variables)
    return time.perf_counter() - began


def clock_and_peak(command: list[str], folder: Path) -> tuple[float, int]:
    """Run a command and give the seconds it took, and the peak memory of its largest process in bytes."""
    program = (
        "import resource, subprocess, sys, time\n"
        "began = time.perf_counter()\n"
        "code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode\n"
        "print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(code)\n"
    )
    seconds, peak = run([sys.executable, "-c", program, *command], folder).split()
    return float(seconds), int(peak) * (1 if sys.platform == "darwin" else 1024)


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Run a command as on a machine of nobody's, and give its output; a failure ends the measurement."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment["PATH"] = os.pathsep.join([environment["PATH"], str(TOOLS)])
    environment |= {"COPIER_SETTINGS_PATH": os.devnull, **variables}
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} gave {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def commit(folder: Path) -> None:
    """Make a repository of a folder."""
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false"]
    run(["git", "init", "--quiet", "--initial-branch", "main"], folder)
    run(["git", "add", "--all"], folder)
    run(["git", *identity, "commit", "--quiet", "--no-verify", "--message", "Start"], folder)


def copy_code(project: Path, folder: Path) -> None:
    """Copy a project without its history, environment and runs, and commit the copy."""
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".git", ".venv", "mlruns", "mlflow.db*", ".*_cache"))
    commit(folder)


def python_of(project: Path) -> list[str]:
    """Name the interpreter of a project's .venv."""
    return [str(project / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))]


def files(folder: Path) -> set[str]:
    """List the files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def to_cookiecutter(rendered: Path, target: Path) -> Path:
    """Turn a rendered project into a cookiecutter template that renders the same files.

    The package's and the project's name become questions; what holds braces of its own is copied as it is.
    """
    root = target / "{{cookiecutter.project}}"
    verbatim = []
    for file in sorted(path for path in rendered.rglob("*") if path.is_file()):
        name = file.relative_to(rendered).as_posix().replace("bikes/", "{{cookiecutter.package}}/")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        if name.endswith(".py") or b"{{" in content or b"{%" in content or b"{#" in content:
            verbatim.append("*" + Path(name).name)
        else:
            content = content.replace(b"bikes", b"{{cookiecutter.package}}")
        (root / name).write_bytes(content)
    context = {"project": "bikes", "package": "bikes", "_copy_without_render": sorted(set(verbatim))}
    (target / "cookiecutter.json").write_text(json.dumps(context))
    return target


def table(rows: list[Row]) -> str:
    """Write the rows for a terminal: medians, and the minimum in brackets."""
    lines = [["", "ours, s", "other, s", "measure", "must", "aim", ""]]
    for row in rows:
        sign = ">=" if row.faster else "<="
        times = [f"{digits(statistics.median(side))} ({digits(min(side))})" for side in (row.ours, row.other)]
        must, aim = ("" if limit is None else f"{sign} {limit:g}" for limit in (row.must, row.aim))
        notes = "".join(f"; {name}: {value}" for name, value in row.notes.items())
        lines.append([row.what, *times, digits(row.value) + row.unit, must, aim, row.verdict + notes])
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, [*widths, 0], strict=True)) for line in lines
    )


def digits(value: float) -> str:
    """Write a time or ratio: milliseconds matter below a second only."""
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def machine() -> dict[str, Any]:
    """Say where and with what was measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE)):
        model = found[1]
    packages = ("copier", "cookiecutter", "mlflow", "scikit-learn", "virtualenv")
    versions = {name: importlib.metadata.version(name) for name in packages}
    commands = {name: run([name, "--version"], ROOT).splitlines()[0] for name in ("uv", "just", "git")}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions | commands,
    }


@dataclass
class Results:
    """What was measured so far, on the disk as soon as it is."""

    output: Path
    about: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def keep(self) -> None:
        """Write all of it, so that no stop at any moment leaves half a file."""
        rows = [asdict(row) | {"ratio": row.ratio, "value": row.value, "verdict": row.verdict} for row in self.rows]
        rest = {"rows": rows, "seconds": self.seconds, "skipped": self.skipped, "failed": self.failed}
        part = self.output.with_name(f"{self.output.name}.part")
        part.write_text(json.dumps(self.about | rest, indent=2) + "\n", "utf-8")
        part.replace(self.output)


def measure(names: list[str], bench: Bench, results: Results) -> None:
    """Measure one after another: a row is shown and kept as soon as it is there, and what cannot be had is told."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    columns = (
        SpinnerColumn(),
        "{task.description}",
        BarColumn(),
        TimeElapsedColumn(),
        "left, about",
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=3600) as progress:
        bar = progress.add_task("", total=sum(BENCHES[name].minutes for name in names))
        for number, name in enumerate(names, 1):
            what = f"{name} ({number} of {len(names)})"
            progress.update(bar, description=what)
            console.print(f"\n{what}, about {BENCHES[name].minutes:g} min: {BENCHES[name].measure.__doc__}")
            began = time.perf_counter()
            try:
                for row in BENCHES[name].measure(bench):
                    results.rows.append(row)
                    results.keep()
                    console.print(f"  {row.what}: {digits(row.value)}{row.unit}, {row.verdict}")
                results.seconds[name] = round(time.perf_counter() - began, 1)
            except Skipped as reason:
                results.skipped[name] = str(reason)
                print(f"  SKIPPED: {reason}", file=sys.stderr)
            except (RuntimeError, OSError) as error:
                results.failed[name] = str(error)
                print(f"  FAILED: {error}", file=sys.stderr)
            results.keep()
            progress.advance(bar, BENCHES[name].minutes)


def overview() -> str:
    """Name every comparison, with the minutes that it takes and what is compared."""
    lines = [f"  {name:<12} {bench.minutes:>4g} min  {bench.measure.__doc__}" for name, bench in BENCHES.items()]
    # Of a docstring, the first line.
    return "\n".join(line.splitlines()[0] for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and write bench.json.

    Returns
    -------
    int
        0, also where a limit is missed; 1 if a measurement failed; 130 if it was interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="just bench",
        description=f"{__doc__.partition(': ')[2].capitalize()}\n\n"
        "Each row is shown, and written to the JSON file, as soon as it is measured: Ctrl-C loses none of them.",
        epilog=f"comparisons, with about how long they take on 2 cores:\n{overview()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="extend", nargs="+", choices=BENCHES, metavar="NAME", help="these comparisons; all by default"
    )
    parser.add_argument("--list", action="store_true", help="name the comparisons and how long they take, and stop")
    parser.add_argument("--quick", action="store_true", help="once each, and smaller: does it work, not how fast it is")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the JSON file (default: bench.json)")
    given = parser.parse_args(arguments)
    if given.list:
        print(overview())
        return 0
    names = list(dict.fromkeys(given.only or BENCHES))
    minutes = sum(BENCHES[name].minutes for name in names)
    print(f"{len(names)} of {len(BENCHES)} comparisons, {'less than' if given.quick else 'about'} {minutes:g} minutes.")
    print("Some of them: just bench --only NAME…; which there are: just bench --list", flush=True)
    results = Results(given.output, {**machine(), "quick": given.quick})
    code = 0
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            measure(names, Bench(Path(folder).resolve(), given.quick), results)
    except KeyboardInterrupt:
        code = 130
    if results.rows:
        print(f"\n{table(results.rows)}\n")
    for word, told in (("SKIPPED", results.skipped), ("FAILED", results.failed)):
        print("".join(f"{word}: {name}, see above\n" for name in told), end="")
    if results.rows:
        print(f"Median, minimum in brackets; every timing is in {given.output}")
    left = [name for name in names if name not in results.seconds | results.skipped | results.failed]
    if left:
        print(f"Interrupted. What is left: just bench --only {' '.join(left)}")
    return code or int(bool(results.failed))


if __name__ == "__main__":
    sys.exit(main())
