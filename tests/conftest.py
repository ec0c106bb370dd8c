"""What every test needs: the template rendered without trust, and rendered projects that can be run."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import copier
import jinja2
import pytest
import yaml

import clusters
import databases
import engines
import harness
import keeper
import reserved

TEMPLATE = Path(__file__).resolve().parents[1]
QUESTIONS = {
    key: question
    for key, question in yaml.safe_load((TEMPLATE / "copier.yml").read_text("utf-8")).items()
    if not key.startswith("_")
}
FRAMEWORKS: tuple[str, ...] = tuple(QUESTIONS["framework"]["choices"].values())
exclusive = harness.load("common.locking").exclusive
#: Variables of the machine that would change what a rendered project does.
FOREIGN = ("MLFLOW_", "OMP_", "OPENBLAS_", "MKL_", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "GIT_")


#: The files that take longest, longest first: begun last, one would keep one worker busy alone.
#: As `--dist loadfile` deals them out, the first and the third share a worker, and so the environments of frameworks.
LONGEST = (
    *("frameworks", "own_models", "brought", "docs", "container_runs", "sweep_runs", "template_update", "site"),
    *("tracking_server", "compare", "run", "image", "sweep_clusters", "randomness", "locks", "terminal_output"),
    *("environment", "sweeps", "reproduce", "selftest", "processes", "update", "errors", "data", "git", "remote"),
    *("render", "ui", "images", "estimators", "store", "setup", "training", "sources", "shell", "tables", "clusters"),
)


def _render_faster() -> None:
    """Spare renders in this process what Copier does over and over; those by its command are as ever."""
    compile_ = jinja2.Environment.compile
    known: dict[Any, Any] = {}

    def compiled(self: jinja2.Environment, source: Any, *arguments: Any, **options: Any) -> Any:
        # Every part of every path is compiled, three times a render. Environments of one syntax share their lexer.
        key = (self.lexer, source, arguments, *options.items())
        if key not in known:
            known[key] = compile_(self, source, *arguments, **options)
        return known[key]

    jinja2.Environment.compile = compiled  # type: ignore[method-assign]
    # For every file git is asked whether core.fileMode is off; here it never is.
    copier._main.Worker._sync_git_index_executable_bit = lambda *_: None


_render_faster()


def sample_of(parts: int, what: str = "") -> int:
    """Choose one of so many parts by the commit: it stays for one commit, and every part has its turn."""
    return int(hashlib.sha256(f"{_commit()} {what}".encode()).hexdigest(), 16) % parts


@functools.cache
def _commit() -> str:
    return subprocess.run(["git", "-C", str(TEMPLATE), "rev-parse", "HEAD"], capture_output=True, text=True).stdout


#: The variable that names the process with which container engines end: that which the workers of pytest share.
OWNER = "ENGINES_OWNER"
#: How the reason of a test begins that was skipped because an engine is missing.
NO_ENGINE = "no engine: "


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[OWNER] = str(os.getpid())


def pytest_unconfigure() -> None:
    keeper.stop(os.getpid())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests did not run because an engine is missing, by reason."""
    reasons = Counter(
        report.longrepr[2].partition(NO_ENGINE)[2]
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and NO_ENGINE in report.longrepr[2]
    )
    if reasons:
        what = "; ".join(f"{count} because {reason}" for reason, count in sorted(reasons.items()))
        terminalreporter.write_sep("!", f"{reasons.total()} tests had no engine and did not run: {what}", red=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sample", type=int, metavar="N", help="only one test of N, chosen by the commit")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first; of a sample, leave the others out."""
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))
    if parts := config.getoption("--sample"):
        wanted = sample_of(parts)
        chosen = {
            id(item) for item in items if int(hashlib.sha256(item.nodeid.encode()).hexdigest(), 16) % parts == wanted
        }
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
        items[:] = [item for item in items if id(item) in chosen]


@pytest.fixture(scope="session", autouse=True)
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine of nobody's: its own git configuration, Copier settings and MLflow environments."""
    home = tmp_path_factory.mktemp("machine")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (home / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.com\n[init]\ndefaultBranch = main\n")
    (home / "copier.yml").write_text("{}\n")
    former = dict(os.environ)
    for name in former:
        if name.startswith(FOREIGN):
            del os.environ[name]
    os.environ.update(
        GIT_CONFIG_GLOBAL=str(home / "gitconfig"),
        GIT_CONFIG_SYSTEM=os.devnull,
        COPIER_SETTINGS_PATH=str(home / "copier.yml"),
        # One folder for all tests of a session: environments are built once and shared.
        MLFLOW_ENV_ROOT=str(shared / "mlflow-envs"),
        # Tests of a project's would close the folder in which all others lie to everybody else.
        PYTEST_DEBUG_TEMPROOT=str(home),
        # mypy knows what it checked by its content, wherever it lies.
        MYPY_CACHE_DIR=str(shared / "mypy"),
        # The tools that constraints.txt locks, `just` above all.
        PATH=os.pathsep.join([str(Path(sys.executable).parent), former["PATH"]]),
    )
    yield
    os.environ.clear()
    os.environ.update(former)


def copy_project(destination: Path, *, source: Path = TEMPLATE, **answers: Any) -> Path:
    """Render the working tree's template, without trust, and make sure that every answer was consumed."""
    unknown = answers.keys() - QUESTIONS.keys()
    assert not unknown, f"no such question: {unknown}"
    copier.run_copy(str(source), destination, data=answers, vcs_ref="HEAD", defaults=True, unsafe=False, quiet=True)
    given = yaml.safe_load((destination / ".copier-answers.yml").read_text("utf-8"))
    lost = {name: value for name, value in answers.items() if given.get(name) != value}
    assert not lost, f"answers that were not consumed: {lost}"
    return destination


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without git and with two files to render, for tests of what is asked and answered."""
    folder = tmp_path_factory.mktemp("questions")
    answers = "{{ _copier_conf.answers_file }}.jinja"
    for name in ("copier.yml", reserved.FILE, f"template/{answers}", "template/{{ package_name }}/__main__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE / name, folder / name)
    return folder


@contextmanager
def importing(folder: Path, package: str, **answers: str) -> Iterator[Callable[[str], ModuleType]]:
    """Render a project, and import modules of its harness by their names.

    Parameters
    ----------
    folder : Path
        Where to render it.
    package : str
        Its package, of a name that nothing else here has.
    answers : str
        To other questions.
    """
    copy_project(folder, package_name=package, **answers)
    sys.path.insert(0, str(folder))
    yield lambda name: importlib.import_module(f"{package}.reproducibility.{name}")
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


@pytest.fixture(scope="module", autouse=True)
def process() -> Iterator[None]:
    """Give the next file a process in which no harness watches imports, and MLflow was told of no experiment."""
    others = [*sys.meta_path]
    yield
    sys.meta_path[:] = [
        one for one in sys.meta_path if one in others or not getattr(one, "__module__", "").endswith("source.imports")
    ]
    if fluent := sys.modules.get("mlflow.tracking.fluent"):
        fluent._active_experiment_id = None  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def variables(machine: None) -> Iterator[None]:
    """Give the next test the environment variables of this one: MLflow sets some when it is told of an experiment."""
    former = dict(os.environ)
    yield
    if os.environ != former:
        os.environ.clear()
        os.environ.update(former)


@pytest.fixture(scope="session")
def docker() -> engines.Docker:
    """Docker's engine, whose images keep their ID when they are built again; shared by all workers."""
    return started(engines.docker)


@pytest.fixture(scope="session")
def classic_docker() -> engines.Docker:
    """The same that keeps images as Docker did before containerd: most machines have it so."""
    return started(engines.docker, "classic")


@pytest.fixture(scope="session")
def podman() -> engines.Podman:
    """Podman and buildah as root."""
    return started(engines.podman)


@pytest.fixture(scope="session")
def person() -> engines.Person:
    """Somebody who is not root, may use Docker, and has podman and buildah of their own."""
    return started(engines.person)


@pytest.fixture(scope="session")
def registry() -> engines.Registry:
    """A registry of images on loopback."""
    return started(engines.registry)


@pytest.fixture
def hosts() -> Iterator[list[clusters.Host]]:
    """Two hosts of this worker's own, in which nothing runs: a test may kill them."""
    made = started(clusters.hosts, owner=os.getpid())
    yield made
    for host in made:
        host.kill()
        host.plug()


@pytest.fixture
def slurm() -> Iterator[clusters.Slurm]:
    """Slurm of this worker's own, with two nodes and no jobs: a test may kill nodes."""
    cluster = started(clusters.slurm, owner=os.getpid())
    yield cluster
    cluster.reset()


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URI of an empty database of a PostgreSQL of this file's own."""
    try:
        with databases.postgresql() as uri:
            yield uri
    except keeper.Unavailable as reason:
        pytest.skip(f"{NO_ENGINE}{reason}")


def started(start: Callable[..., Any], *options: str, owner: int | None = None) -> Any:
    """Start an engine of this session, or of another owner, or skip."""
    try:
        return start(owner or int(os.environ[OWNER]), *options)
    except keeper.Unavailable as reason:
        pytest.skip(f"{NO_ENGINE}{reason}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium without a window; no longer than a module, as an event loop goes on beside it."""
    import browser

    with contextlib.ExitStack() as stack:
        yield started(lambda _: stack.enter_context(browser.chromium()))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB; skip where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if os.name != "posix" or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs: run as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass
class Project:
    """A rendered project with its environment, and what a person would type in it."""

    path: Path

    @property
    def package(self) -> str:
        return str(yaml.safe_load((self.path / ".copier-answers.yml").read_text("utf-8"))["package_name"])

    def run(
        self, *command: str, check: bool = True, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; its output is in the failure's message."""
        done = subprocess.run(
            command,
            cwd=cwd or self.path,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)} gave {done.returncode}:\n{done.stdout}"
        return done

    def just(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a recipe."""
        return self.run("just", *arguments, check=check, **options)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout.strip()

    def commit(self) -> None:
        """Commit everything, past the hooks."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", "Start")

    def client(self) -> Any:
        """A client of the project's own store."""
        import mlflow

        return mlflow.MlflowClient(f"sqlite:///{self.path / 'mlflow.db'}")

    def runs(self) -> list[Any]:
        """All runs of all experiments, the newest first."""
        client = self.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["attributes.start_time DESC"]))


@pytest.fixture(scope="session")
def set_up(tmp_path_factory: pytest.TempPathFactory, machine: None) -> Callable[..., Project]:
    """Render a project of a task and a framework, commit it and run `just setup`: once for each and worker.

    Projects of one framework share an environment, as their locks are equal; also with those of other workers.
    """
    made: dict[tuple[str, str], Project] = {}
    shared = Path(os.environ["MLFLOW_ENV_ROOT"]).parent

    def get(task: str, framework: str = "scikit-learn") -> Project:
        if (task, framework) not in made:
            first = Project(shared / f"set-up-{framework}" / "bikes")
            with exclusive(first.path.parent):
                is_there = (first.path / ".venv").exists()
                project = Project(tmp_path_factory.mktemp(f"{framework}-{task}") / "bikes") if is_there else first
                copy_project(project.path, task=task, framework=framework)
                project.git("init", "--quiet")
                if is_there:
                    (project.path / ".venv").symlink_to(first.path / ".venv")
                project.just("setup")
                project.commit()
            made[task, framework] = project
        return made[task, framework]

    return get


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the template with its releases tagged, and the working tree as a newer one."""
    from updates import make_history

    return make_history(tmp_path_factory.mktemp("history") / "t")


@pytest.fixture(scope="session")
def render(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Render a version of the template, committed; once for each set of answers."""
    from updates import commit, git, run_copier

    made: dict[Any, Path] = {}

    def get(version: str, **answers: str) -> Path:
        key = (version, *answers.items())
        if key not in made:
            made[key] = tmp_path_factory.mktemp("rendered") / "bikes"
            data = [f"--data={name}={value}" for name, value in {"project_name": "bikes", **answers}.items()]
            command = ["copy", "--quiet", "--defaults", f"--vcs-ref={version}", *data, str(history), str(made[key])]
            assert run_copier(*command, cwd=history).returncode == 0
            git(made[key], "init", "--quiet")
            commit(made[key])
        return made[key]

    return get


@pytest.fixture
def project(set_up: Callable[[str], Project], tmp_path: Path) -> Project:
    """A classification project of this test's own, with an environment that it shares with others."""
    return clone(set_up("classification"), tmp_path / "bikes")


@pytest.fixture
def regression_project(set_up: Callable[[str], Project], tmp_path: Path) -> Project:
    """The same for regression."""
    return clone(set_up("regression"), tmp_path / "bikes")


def clone(original: Project, destination: Path) -> Project:
    """Copy a project that was set up; .venv is a link, which Python takes for an environment of the copy's."""
    shutil.copytree(original.path, destination, ignore=shutil.ignore_patterns(".venv", "mlflow.db*", "mlruns"))
    (destination / ".venv").symlink_to(original.path / ".venv")
    return Project(destination)


def build_environment(project: Project, folder: Path) -> Path:
    """Build MLflow's environment of a project in a folder of environments, run nothing in it, and give its path."""
    program = "from bikes.reproducibility.environment import mlflow_environment\nprint(mlflow_environment.ready())"
    done = project.run(str(project.path / ".venv" / "bin" / "python"), "-c", program, MLFLOW_ENV_ROOT=str(folder))
    return Path(done.stdout.splitlines()[-1])


def refused(done: subprocess.CompletedProcess[str], code: int = 3) -> str:
    """Check that a command ended as an error that a person can act on, and give what it printed."""
    assert done.returncode == code, f"exit code {done.returncode}, not {code}:\n{done.stdout}"
    assert "Traceback" not in done.stdout, done.stdout
    message = done.stdout[done.stdout.index("error: ") :]
    assert "\nfix: " in message, done.stdout
    assert len(done.stdout.splitlines()) <= 24, f"more than a screen:\n{done.stdout}"
    return done.stdout


def other_pythons() -> dict[str, str]:
    """Find the supported Pythons of this machine besides the running one: `{"3.12": path}`; skip if there is none."""
    found = {}
    for minor in {11, 12, 13, 14} - {sys.version_info.minor}:
        command = ["uv", "python", "find", "--no-python-downloads", "--no-project", "--system", f"3.{minor}"]
        answer = subprocess.run(command, cwd="/", capture_output=True, text=True)
        # pyenv's shims answer only for active versions.
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
        built = sorted(pyenv.glob(f"3.{minor}.*/bin/python"), key=lambda path: int(path.parts[-3].split(".")[2]))
        if answer.returncode == 0:
            found[f"3.{minor}"] = answer.stdout.strip()
        elif built:
            found[f"3.{minor}"] = str(built[-1])
    if not found:
        pytest.skip("no other Python is here: `uv python install 3.13` brings one")
    return found
