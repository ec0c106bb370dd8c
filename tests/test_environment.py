"""Environments are what the lock says, or nothing runs in them."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import json
import marshal
import os
import py_compile
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Project, build_environment, refused

from harness import load

#: Of these two the harness's command line consists, so an environment of them is built in no time.
SMALL = ("click", "packaging")
DEADLINE = 240.0


def entries(lock: Path) -> dict[str, str]:
    """Take a lock apart: what it says about each package."""
    blocks = re.findall(r"^[\w.-]+==.*(?:\n    .*)*\n", lock.read_text("utf-8"), re.MULTILINE)
    return {block.partition("==")[0]: block for block in blocks}


def shrink(lock: Path) -> None:
    locked = entries(lock)
    lock.write_text("".join(locked[name] for name in SMALL), "utf-8")


def with_wrong_hash(lock: Path, package: str) -> None:
    block = entries(lock)[package]
    wrong = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + 64 * "0", block)
    lock.write_text(lock.read_text("utf-8").replace(block, wrong), "utf-8")


def without_hash(lock: Path, package: str) -> None:
    block = entries(lock)[package]
    lock.write_text(lock.read_text("utf-8").replace(block, block.partition(" \\\n")[0] + "\n"), "utf-8")


def add_look(project: Project) -> None:
    """Give MLproject an entry point that goes through the harness's checks and then does nothing."""
    with (project.path / "MLproject").open("a", encoding="utf-8") as file:
        file.write("  look:\n    command: python -m bikes train --help\n")


@pytest.fixture
def looking(project: Project) -> Project:
    """A project with the entry point `look`."""
    add_look(project)
    return project


@pytest.fixture
def small(looking: Project) -> Project:
    """A project whose lock has two packages only."""
    shrink(looking.path / "constraints.txt")
    return looking


def site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python3*/site-packages"))


def environments(root: Path) -> list[Path]:
    return [path for path in root.glob("mlflow-*") if path.is_dir()]


def installed(environment: Path) -> list[str]:
    return sorted(path.name for path in environment.glob("lib/python3*/site-packages/*.dist-info"))


def assert_as_locked(environment: Path, lock: Path) -> None:
    """Ask uv, and read every file: independent of how the harness looks."""
    command = ["uv", "pip", "sync", "--dry-run", "--require-hashes", "--python", str(environment), str(lock)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert "Would make no changes" in answer.stderr, answer.stderr
    folder = site_packages(environment)
    for record in folder.glob("*.dist-info/RECORD"):
        with record.open(newline="") as lines:
            for path, digest, _ in csv.reader(lines):
                if digest:
                    found = base64.urlsafe_b64encode(hashlib.sha256((folder / path).read_bytes()).digest())
                    assert digest == f"sha256={found.rstrip(b'=').decode()}", path


# --- A lock that cannot be trusted --------------------------------------------


@pytest.mark.e2e
@pytest.mark.parametrize("damage", [with_wrong_hash, without_hash])
def test_a_damaged_hash_installs_nothing_and_the_run_is_failed(
    project: Project, tmp_path: Path, damage: Callable[[Path, str], None]
) -> None:
    damage(project.path / "constraints.txt", "click")
    output = project.just("run", check=False, MLFLOW_ENV_ROOT=str(tmp_path / "envs"))
    assert output.returncode == 3, output.stdout
    assert "click" in output.stdout and "git diff constraints.txt" in output.stdout and "just lock" in output.stdout
    assert "Traceback" not in output.stdout
    assert environments(tmp_path / "envs") == []
    [run] = project.runs()
    assert run.info.status == "FAILED"


@pytest.mark.e2e
def test_setup_refuses_a_damaged_hash_and_lock_heals_it(project: Project) -> None:
    (project.path / ".venv").unlink()
    lock = project.path / "constraints-dev.txt"
    whole = lock.read_bytes()
    for damage in (with_wrong_hash, without_hash):
        lock.write_bytes(whole)
        damage(lock, "click")
        message = refused(project.just("setup", check=False))
        assert "click" in message and "git diff constraints-dev.txt" in message and "just lock" in message
        assert installed(project.path / ".venv") == []
        refused(project.just("train", check=False))
    for name in ("constraints.txt", "constraints-build.txt"):
        package = sorted(entries(project.path / name))[0]
        with_wrong_hash(project.path / name, package)
    project.just("lock")
    assert project.git("status", "--porcelain") == ""  # all three as they were committed


# --- Interrupted, and built twice ----------------------------------------------


def kill_while(project: Project, root: Path, reached: Callable[[], bool]) -> None:
    """Start `just run` and kill it with all its children, as soon as something can be seen."""
    process = subprocess.Popen(
        ["just", "run", "-e", "look"],
        cwd=project.path,
        env=os.environ | {"MLFLOW_ENV_ROOT": str(root)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + DEADLINE
    try:
        while process.poll() is None and not reached():
            assert time.monotonic() < end, "never seen"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def survive_kills(project: Project, root: Path, points: int) -> None:
    """Kill the build at as many points, each time in a cold environment; every next run must make it whole."""
    lock = project.path / "constraints.txt"
    total = len(entries(lock))
    left = []
    for point in range(points):
        for environment in environments(root):
            shutil.rmtree(environment)
        if point == 0:
            kill_while(project, root, lambda: bool(environments(root)))
        else:
            wanted = 1 + (point - 1) * (total - 10) // max(points - 2, 1)

            def progress(wanted: int = wanted) -> bool:
                return any(len(installed(environment)) >= wanted for environment in environments(root))

            kill_while(project, root, progress)
        left.append([len(installed(environment)) for environment in environments(root)])
        done = project.just("run", "-e", "look", MLFLOW_ENV_ROOT=str(root))
        assert "Usage:" in done.stdout
        [environment] = environments(root)
        assert_as_locked(environment, lock)
        assert project.runs()[0].info.status == "FINISHED"
    half_built = [count for count in left if count and count[0] < total - 10]
    assert len(half_built) >= points // 2, f"the kills came too late to show anything: {left}"


@pytest.mark.slow
def test_a_build_killed_at_any_of_12_points_is_made_whole_by_the_next_run(looking: Project, tmp_path: Path) -> None:
    survive_kills(looking, tmp_path / "envs", 12)


@pytest.mark.slow
@pytest.mark.e2e
def test_two_cold_runs_at_one_instant_share_one_environment(project: Project, tmp_path: Path) -> None:
    project.just("data-check")
    command = ["just", "run", "--set", "model.n_estimators=2"]
    root = tmp_path / "envs"
    pair = [
        subprocess.Popen(
            command,
            cwd=project.path,
            env=os.environ | {"MLFLOW_ENV_ROOT": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=DEADLINE)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], "\n".join(outputs)
    assert [run.info.status for run in project.runs()] == ["FINISHED", "FINISHED"]
    [environment] = environments(root)
    assert_as_locked(environment, project.path / "constraints.txt")
    assert sum("Building the environment" in output for output in outputs) == 1


# --- Bytecode lent by .venv -------------------------------------------------------


@pytest.mark.e2e
def test_a_new_environment_has_the_bytecode_of_what_venv_has_imported(small: Project, tmp_path: Path) -> None:
    small.just("run", "--help")  # imports click
    packages = site_packages(build_environment(small, tmp_path / "envs"))
    [lent] = packages.glob("click/__pycache__/core.*.pyc")
    inode = lent.stat().st_ino
    program = "import click.core; print(click.core.__file__, click.core.Command.main.__code__.co_filename)"
    done = small.run(str(packages.parents[2] / "bin" / "python"), "-I", "-c", program)
    assert done.stdout.split() == [str(packages / "click/core.py")] * 2, "a traceback names the file's own place"
    assert lent.stat().st_ino == inode, "Python did not compile it again"


@pytest.fixture
def edited(small: Project) -> Iterator[str]:
    """A module of .venv, edited so that size and time stay: Python itself would not tell the two files apart."""
    module = site_packages(small.path / ".venv") / "click/core.py"
    aside = module.rename(module.with_suffix(".original"))  # the edit is not to be one of uv's cache
    text, times = aside.read_text("utf-8"), aside.stat()
    module.write_text(text.replace("command line", "COMMAND LINE"), "utf-8")
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
    yield "click/__pycache__/core.*"
    aside.replace(module)
    for bytecode in module.parent.glob("__pycache__/core.*"):
        bytecode.unlink()


@pytest.mark.e2e
def test_bytecode_of_another_file_is_not_lent(small: Project, edited: str, tmp_path: Path) -> None:
    small.run(".venv/bin/python", "-c", "import click")
    packages = site_packages(build_environment(small, tmp_path / "envs"))
    assert list(packages.glob("click/__pycache__/decorators.*")), "others are"
    assert not list(packages.glob(edited))


@pytest.mark.e2e
def test_where_uv_compiles_itself_nothing_is_lent(
    small: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "1")
    small.just("run", "--help")
    packages = site_packages(build_environment(small, tmp_path / "envs"))
    assert list(packages.glob("click/__pycache__/core.*.pyc"))
    assert not list(packages.rglob("*.part"))


# --- Tampered with -------------------------------------------------------------


def edit(environment: Path) -> None:
    with (site_packages(environment) / "click/core.py").open("a") as file:
        file.write("# changed\n")


def edit_keeping_the_size(environment: Path) -> None:
    file = site_packages(environment) / "click/core.py"
    file.write_text(file.read_text("utf-8").replace("import", "IMPORT", 1), "utf-8")


def delete(environment: Path) -> None:
    (site_packages(environment) / "click/termui.py").unlink()


def install(environment: Path, package: str) -> None:
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(environment), package], check=True)


def swap(environment: Path) -> None:
    install(environment, "click==8.2.1")


def add(environment: Path) -> None:
    install(environment, "iniconfig==2.1.0")


TAMPERINGS = [edit, edit_keeping_the_size, delete, swap, add]


@pytest.mark.e2e
def test_run_notices_a_tampered_environment_and_builds_it_anew(small: Project, tmp_path: Path) -> None:
    variables = {"MLFLOW_ENV_ROOT": str(tmp_path / "envs"), "UV_LINK_MODE": "copy"}
    first = small.just("run", "-e", "look", **variables)
    assert "anew" not in first.stdout
    [environment] = environments(tmp_path / "envs")
    for tamper in TAMPERINGS:
        tamper(environment)
        done = small.just("run", "-e", "look", **variables)
        assert "is not what constraints.txt says" in done.stdout and "Building it anew" in done.stdout, tamper
        assert_as_locked(environment, small.path / "constraints.txt")
    again = small.just("run", "-e", "look", **variables)
    assert "anew" not in again.stdout


@pytest.mark.slow
@pytest.mark.e2e
def test_a_bare_mlflow_run_repairs_a_tampered_environment_in_place_and_starts_once_more(
    small: Project, tmp_path: Path
) -> None:
    variables = {
        "MLFLOW_ENV_ROOT": str(tmp_path / "envs"),
        "UV_LINK_MODE": "copy",
        "MLFLOW_TRACKING_URI": f"sqlite:///{small.path / 'mlflow.db'}",
    }
    command = [".venv/bin/mlflow", "run", ".", "--env-manager", "uv", "-e", "look"]
    first = small.run(*command, **variables)
    assert "Repairing" not in first.stdout
    [environment] = environments(tmp_path / "envs")
    for tamper in TAMPERINGS:
        if tamper in {delete, edit_keeping_the_size}:
            continue  # with one start of MLflow less the test is as sharp: both are seen as `edit` is
        tamper(environment)
        done = small.run(*command, **variables)
        assert done.stdout.count("Repairing it") == 1, done.stdout
        assert done.stdout.count("Usage:") == 1, done.stdout
        assert_as_locked(environment, small.path / "constraints.txt")


@pytest.mark.slow
@pytest.mark.e2e
def test_an_edit_that_reached_uvs_cache_through_a_hard_link_is_healed(small: Project, tmp_path: Path) -> None:
    variables = {
        "MLFLOW_ENV_ROOT": str(tmp_path / "envs"),
        "UV_LINK_MODE": "hardlink",
        "UV_CACHE_DIR": str(tmp_path / "cache"),  # this test's own: it is poisoned
    }
    small.just("run", "-e", "look", **variables)
    [environment] = environments(tmp_path / "envs")
    if (site_packages(environment) / "click/core.py").stat().st_nlink == 1:
        pytest.skip("uv makes no hard links here")

    edit(environment)
    done = small.just("run", "-e", "look", **variables)
    assert "Building it anew" in done.stdout
    assert_as_locked(environment, small.path / "constraints.txt")

    edit(environment)
    (small.path / ".venv").unlink()
    shrink(small.path / "constraints-dev.txt")
    done = small.just("setup", **variables)
    assert "Repairing it" in done.stdout
    assert_as_locked(small.path / ".venv", small.path / "constraints-dev.txt")

    fresh = tmp_path / "fresh"
    small.run("uv", "venv", "--quiet", str(fresh), **variables)
    small.run("uv", "pip", "sync", "--python", str(fresh), "constraints-dev.txt", **variables)
    assert_as_locked(fresh, small.path / "constraints-dev.txt")  # so the cache is healed, not only the copies


@pytest.mark.e2e
def test_train_refuses_a_tampered_venv_until_setup_was_run(project: Project) -> None:
    (project.path / ".venv").unlink()
    shrink(project.path / "constraints-dev.txt")
    shrink(project.path / "constraints.txt")
    project.just("setup", UV_LINK_MODE="copy")
    for tamper in TAMPERINGS:
        project.just("train", "--help")
        tamper(project.path / ".venv")
        message = refused(project.just("train", check=False))
        assert "is not what constraints-dev.txt says" in message and "fix: just setup" in message, tamper
        project.just("setup", UV_LINK_MODE="copy")
    project.just("train", "--help")


@pytest.mark.e2e
def test_another_python_than_the_projects_is_refused_and_not_recommended_for_deletion(project: Project) -> None:
    message = refused(project.run(sys.executable, "-m", "bikes", "train", check=False))
    assert "just setup" in message and "elete" not in message


# --- A bare machine ------------------------------------------------------------


@pytest.fixture
def bare_path(tmp_path: Path) -> Callable[..., str]:
    """Make a PATH of a few tools only."""

    def make(*tools: str) -> str:
        folder = tmp_path / f"bin-{'-'.join(tools)}"
        folder.mkdir()
        for tool in ("just", "sh", "bash", "env", "python3", *tools):
            found = shutil.which(tool)
            assert found, tool
            (folder / tool).symlink_to(found)
        return str(folder)

    return make


@pytest.mark.e2e
def test_without_uv_what_needs_it_says_how_to_get_it(project: Project, bare_path: Callable[..., str]) -> None:
    path = bare_path("git")
    for recipe in ("setup", "lock", "package-build", "run"):
        message = refused(project.just(recipe, check=False, PATH=path))
        assert f"error: uv is not on the PATH.\nfix: {load('common.uv').UV_FIX}\n" in message, recipe
    assert "RUNNING" not in {run.info.status for run in project.runs()}


@pytest.mark.e2e
def test_without_git_a_run_works_and_says_so(project: Project, bare_path: Callable[..., str]) -> None:
    done = project.just("train", "--set", "model.n_estimators=2", PATH=bare_path())
    assert "Traceback" not in done.stdout
    [run] = project.runs()
    assert (run.info.status, run.data.tags["repro.commit"]) == ("FINISHED", "none")


@pytest.mark.slow
@pytest.mark.e2e
def test_without_a_repository_or_a_commit_a_run_works_and_says_so(project: Project, tmp_path: Path) -> None:
    shutil.rmtree(project.path / ".git")
    project.just("train", "--set", "model.n_estimators=2")
    assert project.runs()[0].data.tags["repro.commit"] == "none"
    assert project.runs()[0].data.tags["repro.dirty"] == "unknown"
    project.git("init", "--quiet")
    done = project.just("run", "--set", "model.n_estimators=2")
    assert "Traceback" not in done.stdout
    assert project.runs()[0].data.tags["repro.commit"] == "none"
    assert project.runs()[0].data.tags["repro.dirty"] == "true"


# --- The comparison itself, on packages made up --------------------------------


class Fake:
    """A site-packages folder of two packages, and a lock that names them."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.packages = prefix / "lib/python3.11/site-packages"
        self.lock = prefix / "lock.txt"
        self.pins: dict[str, str] = {}
        for name in ("Spam.Ham", "eggs"):
            self.install(name, "1.0")

    def install(self, name: str, version: str, locked: bool = True) -> None:
        module = self.packages / f"{name.lower().replace('.', '_')}/__init__.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_bytes(b"x = 1\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).rstrip(b"=").decode()
        information = self.packages / f"{name.replace('.', '_')}-{version}.dist-info"
        information.mkdir()
        record = f"{module.relative_to(self.packages)},sha256={digest},6\n{information.name}/RECORD,,\n"
        (information / "RECORD").write_text(record)
        if locked:
            self.pin(name, version)

    def pin(self, name: str, version: str, marker: str = "") -> None:
        self.pins[name] = f"{name}=={version}{f' ; {marker}' if marker else ''} \\\n    --hash=sha256:{64 * '0'}\n"
        self.lock.write_text("".join(self.pins.values()))


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


@pytest.fixture
def problems(fake: Fake) -> Callable[..., list[str]]:
    def find(**options: bool) -> list[str]:
        found: list[str] = load("environment.installed").find_problems(fake.packages, fake.prefix, fake.lock, **options)
        return found

    return find


def test_what_is_as_locked_has_no_problems(problems: Callable[..., list[str]]) -> None:
    assert problems() == []
    assert problems() == []  # now by the marker


def test_a_package_of_another_version_is_named(fake: Fake, problems: Callable[..., list[str]]) -> None:
    fake.pin("Spam.Ham", "2.0")
    assert problems() == ["spam-ham is 1.0, locked is 2.0"]


def test_a_missing_package_is_named_even_after_a_good_look(fake: Fake, problems: Callable[..., list[str]]) -> None:
    assert problems() == []
    shutil.rmtree(fake.packages / "eggs-1.0.dist-info")
    assert problems() == ["eggs is missing"]


def test_a_package_for_another_system_may_be_missing(fake: Fake, problems: Callable[..., list[str]]) -> None:
    fake.pin("colorama", "1.0", "sys_platform == 'win32'")
    assert problems() == []
    fake.pin("uvloop", "1.0", f"sys_platform == '{sys.platform}'")
    assert problems() == ["uvloop is missing"]


def test_a_surplus_package_is_named_but_installers_are_not(fake: Fake, problems: Callable[..., list[str]]) -> None:
    fake.install("pip", "26.0", locked=False)
    assert problems() == []
    fake.install("intruder", "1.0", locked=False)
    assert problems() == ["intruder 1.0 is not locked"]


def test_a_package_that_is_there_twice_is_named(fake: Fake, problems: Callable[..., list[str]]) -> None:
    fake.install("eggs", "0.9", locked=False)
    assert any("twice" in problem for problem in problems())


@pytest.mark.parametrize("content", [b"x = 2\n", b"x = 1\n\n", None])
def test_a_changed_or_deleted_file_is_named_even_after_a_good_look(
    fake: Fake, problems: Callable[..., list[str]], content: bytes | None
) -> None:
    assert problems() == []
    file = fake.packages / "eggs/__init__.py"
    file.write_bytes(content) if content else file.unlink()
    assert problems(files=False) == []
    assert problems() == ["eggs/__init__.py of eggs-1.0 was changed or is missing"]
    assert problems() == ["eggs/__init__.py of eggs-1.0 was changed or is missing"]


def test_bytecode_of_no_source_is_nobodys_problem(fake: Fake, problems: Callable[..., list[str]]) -> None:
    (fake.packages / "eggs/__pycache__").mkdir()
    (fake.packages / "eggs/__pycache__/gone.cpython-311.pyc").write_bytes(b"x")
    assert problems() == []
    marker = (fake.prefix / "as-locked.json").read_text()
    assert problems() == []
    assert (fake.prefix / "as-locked.json").read_text() == marker


def test_a_lock_that_is_missing_or_empty_is_an_error_with_a_fix(fake: Fake, problems: Callable[..., list[str]]) -> None:
    error = load("common.errors").ProjectError
    fake.lock.write_text("eggs>=1\n")
    with pytest.raises(error, match="pins nothing"):
        problems()
    fake.lock.unlink()
    with pytest.raises(error, match="missing"):
        problems()


def test_what_python_would_import_from_no_package_is_named(fake: Fake, problems: Callable[..., list[str]]) -> None:
    (fake.packages / "sitecustomize.py").write_text("import os\n")
    (fake.packages / "_virtualenv.py").write_text("")  # uv's own
    assert problems() == ["sitecustomize.py belongs to no package"]


def test_a_package_without_its_record_or_from_a_folder_is_named(fake: Fake, problems: Callable[..., list[str]]) -> None:
    (fake.packages / "eggs-1.0.dist-info" / "direct_url.json").write_text("{}")
    [problem] = problems()
    assert problem.startswith("eggs-1.0 did not come from a package index")
    (fake.packages / "eggs-1.0.dist-info" / "direct_url.json").unlink()
    assert problems() == []
    (fake.packages / "eggs-1.0.dist-info" / "RECORD").unlink()
    assert any(problem.startswith("eggs-1.0 did not come") for problem in problems())


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x = 2\n")
    return path


PLANTED: dict[str, Callable[[Path], object]] = {
    "copied/__init__.py": lambda packages: put(packages / "copied/__init__.py"),
    "namespace/part/module.py": lambda packages: put(packages / "namespace/part/module.py"),
    "eggs/more.py": lambda packages: put(packages / "eggs/more.py"),
    "eggs/fast.abi3.so": lambda packages: put(packages / "eggs/fast.abi3.so"),
    "eggs/sourceless.pyc": lambda packages: put(packages / "eggs/sourceless.pyc"),
    "eggs-1.0.dist-info/module.py": lambda packages: put(packages / "eggs-1.0.dist-info/module.py"),
    "more.pth": lambda packages: put(packages / "more.pth"),
    "linked": lambda packages: (packages / "linked").symlink_to(packages.parent),
    "eggs/link.py": lambda packages: (packages / "eggs/link.py").symlink_to(packages / "eggs/__init__.py"),
}


@pytest.mark.parametrize("path", PLANTED)
def test_code_that_no_package_brought_is_named(path: str, fake: Fake, problems: Callable[..., list[str]]) -> None:
    assert problems() == []
    PLANTED[path](fake.packages)
    assert problems() == problems() == [f"{path} belongs to no package"]


def test_data_that_a_package_writes_beside_its_modules_is_nobodys_problem(
    fake: Fake, problems: Callable[..., list[str]]
) -> None:
    put(fake.packages / "eggs" / "__pycache__" / "kernel.cpython-311.nbc")
    put(fake.packages / "eggs" / "cache.json")
    assert problems() == []


def test_a_file_outside_site_packages_is_looked_at_too(fake: Fake, problems: Callable[..., list[str]]) -> None:
    (fake.prefix / "pyvenv.cfg").write_text("")
    script, record = put(fake.prefix / "bin" / "eggs"), fake.packages / "eggs-1.0.dist-info" / "RECORD"
    digest = base64.urlsafe_b64encode(hashlib.sha256(script.read_bytes()).digest()).rstrip(b"=").decode()
    record.write_text(f"{record.read_text()}../../../bin/eggs,sha256={digest},6\n")
    assert problems() == []
    script.write_bytes(b"x = 3\n")
    assert problems() == ["../../../bin/eggs of eggs-1.0 was changed or is missing"]


#: How bytecode says what it came from (PEP 552).
KINDS = [
    py_compile.PycInvalidationMode.TIMESTAMP,
    py_compile.PycInvalidationMode.CHECKED_HASH,
    py_compile.PycInvalidationMode.UNCHECKED_HASH,
]


@pytest.mark.parametrize("kind", KINDS)
def test_bytecode_that_is_not_its_sources_is_named_and_other_bytecode_is_not(
    kind: py_compile.PycInvalidationMode, fake: Fake, problems: Callable[..., list[str]]
) -> None:
    source = fake.packages / "eggs" / "__init__.py"
    bytecode = Path(py_compile.compile(str(source), invalidation_mode=kind) or "")
    assert problems() == problems() == []
    true, header = bytecode.read_bytes(), bytecode.read_bytes()[:16]
    bytecode.write_bytes(header + marshal.dumps(compile("x = 666", "x", "exec")))
    named = f"eggs/__pycache__/{bytecode.name} is not what its source compiles to"
    assert problems() == problems() == [named]
    bytecode.write_bytes(header + b"rubbish")
    assert problems() == [named]
    bytecode.write_bytes(true)
    assert problems() == []


def test_bytecode_that_python_would_not_load_is_nobodys_problem(fake: Fake, problems: Callable[..., list[str]]) -> None:
    source = fake.packages / "eggs" / "__init__.py"
    bytecode = Path(py_compile.compile(str(source)) or "")
    content = bytecode.read_bytes()
    bytecode.write_bytes(content[:8] + bytes(8) + marshal.dumps(compile("x = 666", "x", "exec")))  # of an older source
    assert problems() == []
    bytecode.write_bytes(bytes(4) + content[4:16] + marshal.dumps(compile("x = 666", "x", "exec")))  # of another Python
    assert problems() == []


def test_bytecode_found_true_once_is_not_compiled_again(
    fake: Fake, problems: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    py_compile.compile(str(fake.packages / "eggs" / "__init__.py"))
    assert problems() == []
    looked: list[str] = []
    monkeypatch.setattr(load("environment.bytecode"), "planted", lambda _, paths: looked.extend(paths) or [])
    assert problems() == [] and looked == []
    [other] = [path for path in fake.packages.glob("*/__init__.py") if path.parent.name != "eggs"]
    py_compile.compile(str(other))
    assert problems() == [] and len(looked) == 1


@pytest.mark.e2e
def test_what_a_training_compiles_is_known_to_the_next_one(small: Project) -> None:
    shrink(small.path / "constraints-dev.txt")
    (small.path / ".venv").unlink()
    small.just("setup")
    small.just("train", "--help")
    [bytecode] = site_packages(small.path / ".venv").glob("click/__pycache__/core.*.pyc")
    known = json.loads((small.path / ".venv" / "as-locked.json").read_text())["bytecode"]
    status = bytecode.stat()
    assert known[f"click/__pycache__/{bytecode.name}"] == f"{status.st_size} {status.st_mtime_ns}"


@pytest.mark.e2e
def test_tampered_bytecode_is_refused_and_never_lent(small: Project, tmp_path: Path) -> None:
    shrink(small.path / "constraints-dev.txt")
    (small.path / ".venv").unlink()
    small.just("setup")
    small.just("train", "--help")
    [bytecode] = site_packages(small.path / ".venv").glob("click/__pycache__/core.*.pyc")
    content = bytecode.read_bytes()
    bytecode.write_bytes(content[:16] + marshal.dumps(compile("raise SystemExit(77)", "core.py", "exec")))
    program = "from bikes.reproducibility.environment import mlflow_environment; print(mlflow_environment.ready())"
    lender = f"import sys; sys.prefix = {str(small.path / '.venv')!r}\n" + (
        f"import sysconfig; sysconfig.get_path = lambda name: {str(site_packages(small.path / '.venv'))!r}\n{program}"
    )
    done = small.run(sys.executable, "-c", lender, MLFLOW_ENV_ROOT=str(tmp_path / "envs"))
    packages = site_packages(Path(done.stdout.splitlines()[-1]))
    assert list(packages.glob("click/__pycache__/decorators.*")), "others are lent"
    assert not list(packages.glob("click/__pycache__/core.*"))
    # The harness itself imports click, once its environment was looked at.
    message = refused(small.just("train", "--help", check=False))
    assert f"{bytecode.name} is not what its source compiles to" in message and "just setup" in message
    small.just("setup")
    small.just("train", "--help")


@pytest.mark.e2e
def test_an_environment_that_lets_the_systems_packages_in_is_refused(project: Project) -> None:
    (project.path / ".venv").unlink()
    shrink(project.path / "constraints-dev.txt")
    shrink(project.path / "constraints.txt")
    project.just("setup")
    settings = project.path / ".venv" / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace("packages = false", "packages = true"))
    message = refused(project.just("train", "--help", check=False))
    assert "Python would import other code than the locked" in message and "fix: just setup" in message


@pytest.mark.e2e
def test_code_from_elsewhere_and_a_lock_that_is_not_installed_are_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "threadpoolctl.py").write_text("")
    assert "unset PYTHONPATH" in refused(project.just("train", check=False, PYTHONPATH=str(tmp_path)))
    lock = project.path / "constraints.txt"
    lock.write_text(re.sub(r"^numpy==\S+", "numpy==2.0.0", lock.read_text(), flags=re.MULTILINE))
    assert "locked is 2.0.0" in refused(project.just("train", check=False))


@pytest.mark.slow
@pytest.mark.e2e
def test_an_environment_whose_python_was_upgraded_away_is_built_anew(project: Project, tmp_path: Path) -> None:
    root = tmp_path / "envs"
    project.just("run", MLFLOW_ENV_ROOT=str(root))
    [python] = root.glob("mlflow-*/bin/python")
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert "its Python is gone" in project.just("run", MLFLOW_ENV_ROOT=str(root)).stdout
    assert python.exists()


@pytest.mark.e2e
def test_a_commit_that_has_no_line_of_the_code_does_not_count_as_clean(project: Project) -> None:
    shutil.rmtree(project.path / ".git")
    above = project.path.parent
    (above / ".gitignore").write_text("*\n")
    for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "Above"]):
        subprocess.run(["git", *command], cwd=above, check=True)
    project.just("train", "--set", "model.n_estimators=2")
    assert project.runs()[0].data.tags["repro.dirty"] == "true"
