"""The locks: compiled from pyproject.toml, all or none, the same whoever compiles them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import FRAMEWORKS, TEMPLATE, Project, copy_project, other_pythons

LOCKS = ("constraints.txt", "constraints-build.txt", "constraints-dev.txt")
#: Of what speaks to a cluster, in an environment of its own; projects that are older have none.
CLUSTER_LOCK = "constraints-cluster.txt"
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")
A_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@pytest.fixture
def rendered(tmp_path: Path) -> Project:
    """A project without an environment: `just lock` must work before there is one."""
    return Project(copy_project(tmp_path / "bikes"))


def locks(project: Project) -> dict[str, bytes]:
    return {lock.name: lock.read_bytes() for lock in project.path.glob("constraints*.txt")}


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text("utf-8"), re.MULTILINE))


def edit(file: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, lambda _: new, file.read_text("utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1, f"{pattern} is not in {file.name}"
    file.write_text(text, "utf-8")


@pytest.mark.slow
@pytest.mark.e2e
def test_locking_again_changes_no_byte_whatever_the_project_is_called(tmp_path: Path, rendered: Project) -> None:
    shipped = [pins(rendered.path / name) for name in locks(rendered)]
    rendered.just("lock")
    assert [pins(rendered.path / name) for name in locks(rendered)] == shipped
    # Hashes are compared from here on: PyPI may have been given further files of a version since the release.
    locked = locks(rendered)
    done = rendered.just("lock")
    assert locks(rendered) == locked
    assert done.stdout.count("unchanged") == 4
    other = Project(copy_project(tmp_path / "else where", project_name="Ünlike", package_name="unlike"))
    other.just("lock")
    assert locks(other) == locked


@pytest.mark.slow
@pytest.mark.e2e
def test_locking_from_any_python_gives_the_same_bytes(rendered: Project) -> None:
    rendered.just("lock")
    shipped = locks(rendered)
    for python in other_pythons().values():
        # From nothing but the pins: a hash or a marker that depended on the Python would show.
        module = "bikes.reproducibility.environment.locks"
        rendered.run("uv", "run", "--quiet", "--no-project", "--python", python, "python", "-m", module)
        assert locks(rendered) == shipped, python


@pytest.mark.e2e
def test_a_new_dependency_comes_into_runtime_and_development_lock_in_step(rendered: Project) -> None:
    before = {name: pins(rendered.path / name) for name in locks(rendered)}
    edit(rendered.path / "pyproject.toml", r'^    "pyyaml>=6",$', '    "pyyaml>=6",\n    "boltons>=24",')
    done = rendered.just("lock")
    after = {name: pins(rendered.path / name) for name in locks(rendered)}
    version = after["constraints.txt"]["boltons"]
    assert after["constraints.txt"] == before["constraints.txt"] | {"boltons": version}
    assert after["constraints-dev.txt"] == before["constraints-dev.txt"] | {"boltons": version}
    for name in ("constraints-build.txt", CLUSTER_LOCK):
        assert after[name] == before[name]
    assert f"constraints.txt: boltons none -> {version}" in done.stdout


@pytest.mark.slow
@pytest.mark.e2e
def test_an_upgrade_moves_one_package_only(rendered: Project) -> None:
    newest = locks(rendered)
    edit(rendered.path / "pyproject.toml", r'^    "click>=8\.2",$', '    "click==8.2.0",')
    rendered.just("lock")
    edit(rendered.path / "pyproject.toml", r'^    "click==8\.2\.0",$', '    "click>=8.2",')
    older = locks(rendered)
    for name in ("constraints.txt", "constraints-dev.txt", CLUSTER_LOCK):
        assert pins(rendered.path / name)["click"] == "8.2.0"
    rendered.just("lock")
    assert locks(rendered) == older, "a version that still fits is kept"
    rendered.just("lock-upgrade", "Click")
    assert pins(rendered.path / "constraints.txt")["click"] != "8.2.0"
    for name in locks(rendered):
        lines = [line for line in newest[name].decode().splitlines() if not line.startswith(("click==", "    "))]
        now = (rendered.path / name).read_text("utf-8").splitlines()
        assert [line for line in now if not line.startswith(("click==", "    "))] == lines


@pytest.mark.e2e
def test_a_package_of_the_build_lock_alone_can_be_upgraded(rendered: Project) -> None:
    edit(rendered.path / "constraints-build.txt", r"^uv-build==\S+", "uv-build==0.13.0")
    before = locks(rendered)
    rendered.just("lock-upgrade", "uv-build")
    after = locks(rendered)
    assert pins(rendered.path / "constraints-build.txt")["uv-build"] != "0.13.0"
    assert {name for name in before if before[name] != after[name]} == {"constraints-build.txt"}


def test_upgrading_an_unknown_package_is_wrong_usage_and_changes_nothing(rendered: Project) -> None:
    before = locks(rendered)
    done = rendered.just("lock-upgrade", "click", "no-such-package", check=False)
    assert done.returncode == 64, done.stdout
    assert "no-such-package is in no lock" in done.stdout
    assert locks(rendered) == before


@pytest.mark.e2e
@pytest.mark.parametrize("wanted", ["numpy<1", "tornado<6"])
def test_requirements_that_cannot_be_met_leave_all_locks_as_they_are(rendered: Project, wanted: str) -> None:
    before = locks(rendered)
    # Only the lock of the tools cannot be compiled; or that one can, and Dask's, which follows it, cannot.
    edit(rendered.path / "pyproject.toml", r'^    "ruff>=0\.15",$', f'    "ruff>=0.15",\n    "{wanted}",')
    done = rendered.just("lock", check=False)
    assert done.returncode == 3, done.stdout
    assert wanted.partition("<")[0] in done.stdout
    assert "fix: " in done.stdout
    assert locks(rendered) == before


@pytest.mark.e2e
def test_a_project_without_the_lock_of_a_cluster_gets_it_by_a_command_of_its_own(rendered: Project) -> None:
    lock = rendered.path / CLUSTER_LOCK
    shipped = pins(lock)
    lock.unlink()
    assert rendered.just("lock").stdout.count("unchanged") == 3 and not lock.exists()
    before = locks(rendered)
    rendered.just("lock", "--only", "cluster")
    assert pins(lock) == shipped
    assert locks(rendered) == before | {CLUSTER_LOCK: lock.read_bytes()}


@pytest.mark.e2e
def test_the_version_of_a_clusters_dask_is_written_into_its_lock(rendered: Project) -> None:
    for package in ("dask", "distributed"):
        edit(rendered.path / CLUSTER_LOCK, rf"^{package}==\S+", f"{package}==2026.7.0")
    for _ in range(2):
        rendered.just("lock")
        locked = pins(rendered.path / CLUSTER_LOCK)
        assert {locked["dask"], locked["distributed"]} == {"2026.7.0"}


@pytest.mark.e2e
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_compilation_leaves_all_locks_as_they_are(
    rendered: Project, tmp_path: Path, kill: signal.Signals
) -> None:
    real, tools, reached = shutil.which("uv"), tmp_path / "tools", tmp_path / "reached"
    tools.mkdir()
    (tools / "uv").write_text(
        f'#!/bin/sh\ncase "$*" in *pip\\ compile*/constraints-dev.txt) '
        f'touch "{reached}"; exec cat "{tmp_path}/fifo";; esac\n'
        f'exec "{real}" "$@"\n'
    )
    (tools / "uv").chmod(0o755)
    os.mkfifo(tmp_path / "fifo")  # the third compilation hangs here
    edit(rendered.path / "pyproject.toml", r'^    "pyyaml>=6",$', '    "pyyaml>=6",\n    "boltons>=24",')
    before = locks(rendered)
    environment = os.environ | {"PATH": os.pathsep.join([str(tools), os.environ["PATH"]])}
    # As `just lock` does it, but without `uv run`, which may put the real uv's folder before this one's.
    command = [sys.executable, "-m", "bikes.reproducibility.environment.locks"]
    process = subprocess.Popen(command, cwd=rendered.path, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not reached.exists():
            assert process.poll() is None, "it ended before it compiled the third lock"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, kill)
        assert process.wait(60) != 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert locks(rendered) == before
    assert not list(rendered.path.glob("*.part"))


@pytest.mark.e2e
def test_a_wrong_hash_is_replaced_and_told(rendered: Project) -> None:
    rendered.just("lock")
    shipped = locks(rendered)
    for name in ("constraints.txt", "constraints-build.txt"):
        lock = rendered.path / name
        edit(lock, r"--hash=sha256:[0-9a-f]{64}", f"--hash=sha256:{'0' * 64}")
    done = rendered.just("lock")
    assert locks(rendered) == shipped
    for name in ("constraints.txt", "constraints-build.txt"):
        assert f"{name}: hashes changed although no version did" in done.stdout
    assert "constraints-dev.txt: hashes" not in done.stdout


def test_locks_hold_hashed_pins_and_nothing_else(rendered: Project) -> None:
    for name in (*LOCKS, CLUSTER_LOCK):
        text = (rendered.path / name).read_text("utf-8")
        assert "://" not in text and "#" not in text
        for entry in re.sub(r" \\\n\s+", " ", text).splitlines():
            requirement, *hashes = entry.split(" --hash")
            assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", requirement), entry
            assert hashes and all(A_HASH.fullmatch(f"--hash{value}") for value in hashes), entry


def test_where_locks_overlap_they_name_the_same_versions(rendered: Project) -> None:
    runtime, _, development = (pins(rendered.path / name) for name in LOCKS)
    assert runtime.items() <= development.items()
    assert len(runtime) > 80


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_lock_of_a_cluster_can_be_installed_beside_each_other(tmp_path: Path, framework: str) -> None:
    project = copy_project(tmp_path / "bikes", framework=framework)
    cluster, development = (pins(project / name) for name in (CLUSTER_LOCK, "constraints-dev.txt"))
    shared = cluster.keys() & development.keys()
    assert {"click", "cloudpickle", "pyyaml"} <= shared and "distributed" in cluster
    assert {name: cluster[name] for name in shared}.items() <= development.items()


def test_the_template_is_worked_on_with_the_mlflow_that_it_ships(rendered: Project) -> None:
    theirs, ours = pins(rendered.path / "constraints.txt"), pins(TEMPLATE / "constraints.txt")
    assert theirs["mlflow"] == ours["mlflow"], "another one could not read the stores that the tests and the demo read"


@pytest.mark.e2e
def test_check_names_the_package_that_is_out_of_step(project: Project) -> None:
    module = f"{project.package}.reproducibility.environment.locks"

    def check() -> str:
        done = project.run(".venv/bin/python", "-m", module, "--check", check=False)
        assert done.returncode == 3, done.stdout
        return done.stdout

    kept = {name: (project.path / name).read_bytes() for name in ("constraints-dev.txt", "pyproject.toml")}
    project.just("check")
    edit(project.path / "pyproject.toml", r'^    "pyyaml>=6",$', '    "pyyaml>=7",')
    assert re.search(r"constraints.txt has pyyaml 6\S*, wanted is pyyaml>=7", check())
    edit(project.path / "pyproject.toml", r'^    "pyyaml>=7",$', '    "pyyaml>=6",\n    "boltons",')
    assert "constraints.txt lacks boltons" in check()
    (project.path / "pyproject.toml").write_bytes(kept["pyproject.toml"])
    edit(project.path / "pyproject.toml", r"uv_build>=[^\"]*", "uv_build>=99")
    assert re.search(r"constraints-build.txt has uv_build \S+, wanted is uv_build>=99", check())
    (project.path / "pyproject.toml").write_bytes(kept["pyproject.toml"])
    edit(project.path / "constraints-dev.txt", r"^alembic==\S+", "alembic==1.0.0")
    assert re.search(r"alembic is \S+ in constraints.txt and 1.0.0 in constraints-dev.txt", check())
    done = project.just("check", check=False)
    assert done.returncode != 0
    assert "just lock" in done.stdout
    (project.path / "constraints-dev.txt").write_bytes(kept["constraints-dev.txt"])
    edit(project.path / CLUSTER_LOCK, r"^click==\S+", "click==8.0")
    assert re.search(rf"click is \S+ in constraints-dev.txt and 8.0 in {CLUSTER_LOCK}", check())
    assert f"8.0 in {CLUSTER_LOCK}" in project.just("doctor", check=False).stdout
    edit(project.path / CLUSTER_LOCK, r"^distributed==\S+", "distributing==1.0")
    assert f"{CLUSTER_LOCK} lacks distributed" in check()
    (project.path / CLUSTER_LOCK).unlink()
    project.just("check")


@pytest.mark.slow
@pytest.mark.parametrize("lock", (*LOCKS, CLUSTER_LOCK))
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_every_lock_installs_on_every_platform_and_python(
    rendered: Project, tmp_path: Path, lock: str, platform: str, python: str
) -> None:
    command = ["uv", "pip", "install", "--dry-run", "--require-hashes", "--only-binary", ":all:", "-r", lock]
    target = ["--python-platform", platform, "--python-version", python, "--target", str(tmp_path / "target")]
    done = rendered.run(*command, *target)
    wanted = re.search(r"Would install (\d+) packages?", done.stdout)
    assert wanted and int(wanted[1]) >= {"constraints-build.txt": 1, CLUSTER_LOCK: 18}.get(lock, 70), done.stdout
