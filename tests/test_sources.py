"""Locks of packages that do not come from PyPI: honoured where a hash holds them, else refused by name."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, copy_project, refused
from packages import sdist, served, wheel, write_index
from packaging import tags
from packaging.markers import Marker
from test_locks import CLUSTER_LOCK, LOCKS, PLATFORMS, locks, pins

import harness

requirements = harness.load("environment.requirements")
markers = harness.load("environment.markers")
sdists = harness.load("environment.sdists")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An index for all (`/all`), one of CPU builds (`/cpu`), and a folder of wheels (`/files`)."""
    root = tmp_path_factory.mktemp("web")
    for name, version in {"calm": "1.0", "fast": "2.0", "tool": "1.0", "backend": "1.0"}.items():
        wheel(root / "all" / name, name, version)
    wheel(root / "all" / "needy", "needy", "1.0", requires=("calm",))
    sdist(root / "all" / "bare", "bare", "1.0")
    sdist(root / "all" / "linuxonly", "linuxonly", "1.0")
    wheel(root / "all" / "linuxonly", "linuxonly", "1.0", tag="py3-none-manylinux_2_17_x86_64")
    wheel(root / "cpu" / "fast", "fast", "2.0+cpu")
    # Another package of the second index, which must not be taken from there.
    wheel(root / "cpu" / "calm", "calm", "99.0")
    wheel(root / "files", "loose", "3.0+a.1")
    for index in ("all", "cpu"):
        write_index(root / index)
    with served(root) as address:
        yield address


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(copy_project(tmp_path_factory.mktemp("sources") / "bikes"))
    (project.path / CLUSTER_LOCK).unlink()  # of packages that no index here has
    return project


@pytest.fixture
def write(rendered: Project) -> Iterator[Callable[..., Project]]:
    """A project whose pyproject.toml asks for packages of that index alone, and whose locks are empty."""
    file = rendered.path / "pyproject.toml"
    whole = file.read_text("utf-8")
    for name in LOCKS:
        (rendered.path / name).write_text("")

    def make(dependencies: list[str], more: str = "", dev: str = '["tool"]') -> Project:
        text = re.sub(r"(?s)\ndependencies = \[\n.*?\n\]", lambda _: f"\ndependencies = {dependencies}", whole, count=1)
        text = re.sub(r"(?s)\ndev = \[\n.*?\n\]", lambda _: f"\ndev = {dev}", text, count=1)
        text = re.sub(r"(?m)^requires = .*$", 'requires = ["backend"]', text)
        file.write_text(text + more, "utf-8")
        return rendered

    yield make
    file.write_text(whole, "utf-8")


def lock(project: Project, web: str, **variables: str) -> str:
    done = project.just("lock", check=False, UV_DEFAULT_INDEX=f"{web}/all", **variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


def install(lock: Path, web: str, environment: Path) -> set[str]:
    """Install a lock alone, from a folder that has nothing else, as `mlflow run` does it."""
    alone = environment.parent / "alone.txt"
    alone.write_bytes(lock.read_bytes())
    variables = os.environ | {"UV_DEFAULT_INDEX": f"{web}/all", "VIRTUAL_ENV": str(environment)}
    subprocess.run(["uv", "venv", "--quiet", "--clear", str(environment)], check=True)
    command = ["uv", "pip", "install", "--quiet", "--require-hashes", "-r", str(alone)]
    subprocess.run(command, cwd=alone.parent, env=variables, check=True)
    return {path.name.removesuffix(".dist-info") for path in environment.rglob("*.dist-info")}


def index(web: str, user: str = "", **more: object) -> str:
    address = f"{web}/cpu".replace("://", f"://{user}")
    lines = [f"{name} = {str(value).lower()}" for name, value in more.items()]
    return "\n".join(["\n[[tool.uv.index]]", 'name = "cpu"', f'url = "{address}"', *lines, ""])


def source(entry: str) -> str:
    return f"\n[tool.uv.sources]\nfast = {entry}\n"


EXPLICIT = {"explicit": True}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("entry", "more"),
    [('{ index = "cpu" }', EXPLICIT), ('[{ index = "cpu" }]', EXPLICIT), ('{ index = "cpu" }', {})],
)
def test_a_source_by_an_index_is_honoured_and_its_lock_installs_alone(
    write: Callable[..., Project], web: str, tmp_path: Path, entry: str, more: dict[str, bool]
) -> None:
    # An index that is not explicit is asked first for every package.
    project = write(["fast>=2", "needy"] if more else ["fast>=2"], index(web, "ada:secret@", **more) + source(entry))
    lock(project, web)
    for name in ("constraints.txt", "constraints-dev.txt"):
        assert pins(project.path / name)["fast"] == "2.0+cpu"
        assert not re.search("secret|ada[:@]", (project.path / name).read_text())  # "ada" stands in hashes
    assert pins(project.path / "constraints.txt").get("calm", "1.0") == "1.0"
    found = install(project.path / "constraints.txt", web, tmp_path / "alone")
    assert found == {"fast-2.0+cpu", *({"needy-1.0", "calm-1.0"} if more else set())}
    locked = locks(project)
    assert lock(project, web).count("unchanged") == 3
    assert locks(project) == locked
    done = project.just("setup", UV_DEFAULT_INDEX=f"{web}/all")
    assert "fast==2.0+cpu" in done.stdout


@pytest.mark.e2e
def test_a_source_for_one_system_gives_two_entries_and_each_system_its_own(
    write: Callable[..., Project], web: str, tmp_path: Path
) -> None:
    marked = '[{ index = "cpu", marker = "sys_platform == \'linux\'" }]'
    project = write(["fast>=2"], index(web, explicit=True) + source(marked))
    lock(project, web)
    text = (project.path / "constraints.txt").read_text()
    assert "fast==2.0 ; sys_platform != 'linux'" in text and "fast==2.0+cpu ; sys_platform == 'linux'" in text
    assert install(project.path / "constraints.txt", web, tmp_path / "alone") == {"fast-2.0+cpu"}
    harness.load("environment.installed")
    lockfile = harness.load("environment.lockfile")
    assert lockfile.read_lock(project.path / "constraints.txt")["fast"][0] == "2.0+cpu"
    assert {str(pin) for pin in lockfile.pins(project.path / "constraints.txt")} == {
        "fast==2.0 ; sys_platform != 'linux'",
        "fast==2.0+cpu ; sys_platform == 'linux'",
    }


@pytest.mark.e2e
def test_groups_that_include_groups_and_sources_of_a_group_are_followed(
    write: Callable[..., Project], web: str
) -> None:
    text = index(web, explicit=True) + source('{ index = "cpu", group = "dev" }')
    project = write(["calm"], text, dev='[{include-group = "quick"}, "tool"]\nquick = ["fast"]')
    lock(project, web)
    assert pins(project.path / "constraints.txt") == {"calm": "1.0"}
    assert pins(project.path / "constraints-dev.txt") == {"calm": "1.0", "fast": "2.0+cpu", "tool": "1.0"}


@pytest.mark.e2e
def test_overrides_and_constraints_of_pyproject_are_honoured(write: Callable[..., Project], web: str) -> None:
    project = write(["needy"])
    file = project.path / "pyproject.toml"
    settings = 'override-dependencies = ["calm==1.0"]\nconstraint-dependencies = ["needy<=1"]\n'
    file.write_text(file.read_text().replace("managed = false\n", f"managed = false\n{settings}"))
    lock(project, web)
    assert pins(project.path / "constraints.txt") == {"calm": "1.0", "needy": "1.0"}


@pytest.mark.e2e
def test_a_wheel_at_an_address_is_locked_by_its_hash(write: Callable[..., Project], web: str, tmp_path: Path) -> None:
    address = f"{web}/files/loose-3.0%2Ba.1-py3-none-any.whl"
    project = write([f"loose @ {address}"])
    lock(project, web)
    assert re.search(
        rf"^loose @ {re.escape(address)} \\\n    --hash=sha256:\w+$", (project.path / LOCKS[0]).read_text(), re.M
    )
    assert install(project.path / "constraints.txt", web, tmp_path / "alone") == {"loose-3.0+a.1"}
    installed = harness.load("environment.installed")
    lockfile = harness.load("environment.lockfile")
    assert lockfile.read_lock(project.path / "constraints.txt") == {"loose": ("3.0+a.1", "")}
    assert [str(pin) for pin in lockfile.pins(project.path / "constraints.txt")] == [f"loose @ {address}"]
    assert "constraints.txt: 1 package, unchanged" in lock(project, web)
    project.just("lock-upgrade", "loose", UV_DEFAULT_INDEX=f"{web}/all")
    assert lockfile.read_lock(project.path / "constraints.txt") == {"loose": ("3.0+a.1", "")}
    [packages] = (tmp_path / "alone").glob("lib/python3*/site-packages")
    for _ in range(2):
        assert installed.find_problems(packages, tmp_path / "alone", project.path / "constraints.txt") == []


REFUSED = {
    "a git requirement": (["fast @ git+https://ada:secret@example.com/fast.git@v1"], "", "it is a repository"),
    "a git requirement over ssh": (["fast @ git+ssh://git@example.com/fast.git"], "", "it is a repository"),
    "a git source": (["fast"], '{ git = "https://ada:secret@example.com/fast", tag = "v1" }', "a git repository"),
    "a folder": (["fast"], '{ path = "../fast" }', "a folder or file of this machine"),
    "an editable folder": (["fast"], '{ path = "../fast", editable = true }', "a folder or file of this machine"),
    "a file": (["fast @ file:///tmp/fast-1.0-py3-none-any.whl"], "", "a folder or file of this machine"),
    "a member of a workspace": (["fast"], "{ workspace = true }", "a folder or file of this machine"),
    "an archive of sources": (["fast @ https://example.com/fast-1.0.tar.gz"], "", "is no wheel"),
    "a source that is an archive": (["fast"], '{ url = "https://example.com/fast-1.0.zip" }', "is no wheel"),
    "a password": (["fast @ https://ada:secret@example.com/fast-1.0-py3-none-any.whl"], "", "password"),
    "an index that is not there": (["fast"], '{ index = "gone" }', "no [[tool.uv.index]] is named gone"),
    "one for another system": (
        ["Fast"],
        '[{ index = "cpu", marker = "sys_platform == \'linux\'" }, { git = "https://example.com/fast", '
        "marker = \"sys_platform == 'win32'\" }]",
        "a git repository",
    ),
}


def read_toml(dependencies: list[str], entry: str) -> dict[str, Any]:
    text = f"project.dependencies = {dependencies}\nbuild-system.requires = []\n{index('http://localhost', **EXPLICIT)}"
    return tomllib.loads(text + (source(entry) if entry else ""))


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_hash_can_hold_is_refused_by_name_without_its_password(case: str) -> None:
    dependencies, entry, reason = REFUSED[case]
    with pytest.raises(harness.load("common.errors").ProjectError) as caught:
        requirements.require_hashes(read_toml(dependencies, entry))
    assert re.search(r"^  [Ff]ast: ", caught.value.cause, re.MULTILINE) and reason in caught.value.cause
    assert "secret" not in caught.value.cause and "tool.uv.sources" in caught.value.fix


def test_a_source_of_a_package_that_nobody_wants_is_no_matter() -> None:
    requirements.require_hashes(read_toml(["calm"], '{ git = "https://example.com/fast" }'))


@pytest.mark.e2e
def test_a_refusal_leaves_locks_and_environment_as_they_were(write: Callable[..., Project], web: str) -> None:
    project = write(["fast"])
    lock(project, web)
    project.just("setup", UV_DEFAULT_INDEX=f"{web}/all")
    before = locks(project)
    write(["fast @ git+https://example.com/fast.git"])
    assert "fast: it is a repository" in refused(project.just("lock", check=False, UV_DEFAULT_INDEX=f"{web}/all"))
    assert locks(project) == before
    assert list((project.path / ".venv").rglob("fast/__init__.py"))


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("text", "said"),
    [("", "'dependencies' is missing"), ('requires-python = ">=3.11"\ndynamic = ["dependencies"]', "'dependencies'")],
)
def test_a_pyproject_without_what_the_locks_are_made_from_is_an_error(
    write: Callable[..., Project], text: str, said: str
) -> None:
    project = write([])
    (project.path / "pyproject.toml").write_text(
        f'[project]\nname = "bikes"\n{text}\n[build-system]\nrequires = []\n'
        '[tool.uv.build-backend]\nmodule-name = "bikes"\n'
    )
    assert said in refused(project.just("lock", check=False))


# --- Without a wheel ------------------------------------------------------------


@pytest.mark.e2e
def test_a_package_without_a_wheel_is_named_when_it_is_locked(write: Callable[..., Project], web: str) -> None:
    output = lock(write(["bare", "linuxonly", "calm"]), web)
    assert "notice: bare 1.0 has no wheel: it is built from source" in output
    assert "notice: linuxonly 1.0 has no wheel for Linux arm64, macOS arm64, Windows: " in output
    assert "calm" not in output.partition("notice")[2].partition("constraints")[0]


MACHINES = {
    "Linux x86-64": [f"manylinux_2_{minor}_x86_64" for minor in range(5, 40)]
    + ["manylinux2014_x86_64", "linux_x86_64"],
    "Linux arm64": [f"manylinux_2_{minor}_aarch64" for minor in range(17, 40)] + ["manylinux2014_aarch64"],
    "macOS arm64": list(tags.mac_platforms((26, 0), "arm64")),
    "Windows": ["win_amd64"],
}
WHEELS = [
    f"x-1-{python}-{abi}-{platform}.whl"
    for python, abi in [
        ("py3", "none"), ("py2.py3", "none"), ("py2", "none"), ("py312", "none"), ("cp311", "cp311"),
        ("cp312", "cp312"), ("cp39", "abi3"), ("cp313", "abi3"), ("cp311", "none"), ("cp310", "none"),
        ("cp313", "cp313t"),
        ("pp311", "pypy311_pp73"),
    ]
    for platform in (
        "any", "manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux_2_28_aarch64", "musllinux_1_2_x86_64",
        "win_amd64", "win32", "macosx_11_0_arm64", "macosx_10_9_universal2", "macosx_10_9_x86_64", "win_arm64",
    )
    if abi == "none" or platform != "any"
]  # fmt: skip


@pytest.mark.parametrize(("system", "minor"), list(product(MACHINES, (11, 12, 13, 14))))
def test_wheels_fit_where_pip_says_so(system: str, minor: int) -> None:
    platforms = MACHINES[system]
    supported = {*tags.cpython_tags((3, minor), platforms=platforms)}
    supported |= {*tags.compatible_tags((3, minor), f"cp3{minor}", platforms)}
    for name in WHEELS:
        wanted = bool(supported & tags.parse_tag("-".join(name.removesuffix(".whl").split("-")[2:])))
        assert sdists.fits(name, system, minor) == wanted, name


# --- Markers ----------------------------------------------------------------------


def test_markers_hold_where_packaging_says_so() -> None:
    found = {
        marker.strip()
        for file in harness.FOLDER.parents[1].rglob("constraints*.txt")
        for marker in re.findall(r"^[\w.-]+==[^\s;]+ ; ([^\\\n]*)", file.read_text("utf-8"), re.MULTILINE)
    } | {
        "python_version == '3.1.*'", "python_version in '3.11 3.12'", "python_full_version != '3.12.*'",
        "'linux' in sys_platform", "(os_name == 'nt' or sys_platform == 'linux') and python_version >= '3.10'",
        "python_version < '3.9'", "python_full_version >= '3.12'", "python_version not in '3.12'",
    }  # fmt: skip
    assert len(found) > 12 and len(PLATFORMS) == len(sdists.SYSTEMS)
    for marker, (system, _, _), python in product(
        found, sdists.SYSTEMS.values(), ("3.9.1", "3.11.7", "3.12.0", "3.14.2")
    ):
        variables = (
            markers.here() | system | {"python_full_version": python, "python_version": python.rpartition(".")[0]}
        )
        assert markers.holds(marker, variables) == Marker(marker).evaluate(variables), (marker, variables)
