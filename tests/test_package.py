"""The wheel: the same bytes wherever it is built, from a build backend whose hash is checked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import Project, copy_project, other_pythons

#: A build backend in the project's own tree that writes the time into the wheel.
CLOCK = """
import time, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "bikes-0.1.0-py3-none-any.whl"
    files = {"bikes/__init__.py": "", "bikes/built.py": f"AT = {time.time_ns()}", "bikes-0.1.0.dist-info/WHEEL": ""}
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for member, content in files.items():
            wheel.writestr(zipfile.ZipInfo(member), content)
    return name
"""


@pytest.fixture
def rendered(tmp_path: Path) -> Project:
    """A project without an environment: building needs none."""
    project = Project(copy_project(tmp_path / "bikes", project_name="bikes"))
    project.git("init", "--quiet")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Start")
    return project


def build(source: Path, python: str = sys.executable, umask: int = 0o022, **variables: str) -> bytes:
    """Build the wheel, with another Python or environment than usual."""
    former = os.umask(umask)
    try:
        Project(source).just("--set", "python-version", python, "package-build", **variables)
    finally:
        os.umask(former)
    [wheel] = source.glob("dist/*.whl")
    return wheel.read_bytes()


@pytest.mark.e2e
def test_the_wheel_holds_the_package_and_the_licence_and_nothing_else(rendered: Project) -> None:
    (rendered.path / ".env").write_text("MLFLOW_TRACKING_TOKEN=secret\n")
    (rendered.path / "junk.py").write_text("")
    (rendered.path / "notes").mkdir()
    (rendered.path / "notes" / "__init__.py").write_text("")
    rendered.just("package")
    [wheel] = rendered.path.glob("dist/[!.]*")
    assert wheel.name == "bikes-0.1.0-py3-none-any.whl"
    members = zipfile.ZipFile(wheel).namelist()
    package = rendered.git("ls-files", "bikes").splitlines()
    about = {f"bikes-0.1.0.dist-info/{name}" for name in ("WHEEL", "METADATA", "RECORD", "licenses/LICENSE")}
    assert {member for member in members if not member.endswith("/")} == {*package, *about}
    licence = zipfile.ZipFile(wheel).read("bikes-0.1.0.dist-info/licenses/LICENSE")
    assert licence == (rendered.path / "LICENSE").read_bytes()
    assert rendered.git("status", "--porcelain").splitlines() == ["?? junk.py", "?? notes/"]


@pytest.mark.e2e
def test_a_build_requirement_with_a_wrong_hash_is_refused(rendered: Project) -> None:
    lock = rendered.path / "constraints-build.txt"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", lock.read_text("utf-8")), "utf-8")
    done = rendered.just("package-build", check=False)
    assert done.returncode != 0
    assert "uv-build" in done.stdout and "mismatch" in done.stdout.lower(), done.stdout
    assert not list(rendered.path.glob("dist/*.whl"))


@pytest.mark.e2e
def test_a_build_requirement_without_a_hash_is_refused(rendered: Project) -> None:
    (rendered.path / "constraints-build.txt").write_text("")
    done = rendered.just("package-build", check=False)
    assert done.returncode != 0
    assert "hash" in done.stdout.lower(), done.stdout
    assert not list(rendered.path.glob("dist/*.whl"))


@pytest.mark.e2e
def test_packaging_compiles_the_hashes_of_every_build_requirement(rendered: Project) -> None:
    lock = rendered.path / "constraints-build.txt"
    shipped = lock.read_bytes()
    lock.write_text("")
    rendered.just("package-constraints")
    assert lock.read_bytes() == shipped


@pytest.mark.e2e
def test_verifying_the_package_finds_two_identical_builds(rendered: Project) -> None:
    done = rendered.just("package-verify")
    assert not (rendered.path / "dist").exists(), "it builds elsewhere"
    [digest] = re.findall(r"bikes-0.1.0-py3-none-any.whl: identical in two builds, (sha256:[0-9a-f]{64})", done.stdout)
    rendered.just("package-build")
    [wheel] = rendered.path.glob("dist/*.whl")
    assert digest == f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


@pytest.mark.e2e
def test_verifying_the_package_names_the_member_that_a_build_made_differently(rendered: Project) -> None:
    pyproject = rendered.path / "pyproject.toml"
    text = pyproject.read_text("utf-8").replace(
        'build-backend = "uv_build"', 'build-backend = "clock"\nbackend-path = ["."]'
    )
    pyproject.write_text(re.sub(r"^requires = .*$", "requires = []", text, count=1, flags=re.MULTILINE), "utf-8")
    (rendered.path / "clock.py").write_text(CLOCK)
    done = rendered.just("package-verify", check=False)
    assert done.returncode == 3, done.stdout
    assert "the two wheels differ in: bikes/built.py." in done.stdout
    assert "fix: " in done.stdout


@pytest.mark.e2e
def test_the_wheel_is_the_same_from_another_place_time_mask_and_locale(rendered: Project, tmp_path: Path) -> None:
    plain = build(rendered.path, TZ="UTC", LC_ALL="C", PYTHONHASHSEED="1")
    assert build(rendered.path) == plain
    elsewhere = Path(shutil.copytree(rendered.path, tmp_path / "else where" / "ünlike"))
    shutil.rmtree(elsewhere / ".git")
    for file in elsewhere.rglob("*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
        file.chmod(0o700 if file.is_dir() else 0o600)
    varied = {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "SOURCE_DATE_EPOCH": "1000000000"}
    assert build(elsewhere, umask=0o077, **varied) == plain
    for file in elsewhere.rglob("*"):
        file.chmod(0o777 if file.is_dir() else 0o666)
    assert build(elsewhere, umask=0o002) == plain


@pytest.mark.e2e
def test_the_wheel_is_the_same_from_every_python(rendered: Project, tmp_path: Path) -> None:
    plain = build(rendered.path)
    for version, python in other_pythons().items():
        assert build(rendered.path, python) == plain, version


@pytest.mark.e2e
def test_the_wheel_is_the_same_through_an_sdist(rendered: Project, tmp_path: Path) -> None:
    plain = build(rendered.path)
    command = [
        "uv",
        "build",
        "--sdist",
        "--force-pep517",
        "--build-constraint",
        "constraints-build.txt",
        "--require-hashes",
    ]
    rendered.run(*command, "--out-dir", str(tmp_path / "sdist"))
    [sdist] = (tmp_path / "sdist").glob("*.tar.gz")
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked" / "bikes-0.1.0"
    for file in ("constraints-build.txt", "justfile", "python_env.yaml"):
        shutil.copy(rendered.path / file, unpacked)
    assert build(unpacked) == plain


@pytest.mark.e2e
def test_a_folder_named_data_in_the_package_is_part_of_the_verified_wheel(project: Project) -> None:
    (project.path / "bikes" / "data").mkdir()
    (project.path / "bikes" / "data" / "table.json").write_text("{}\n")
    project.just("package-build")
    [wheel] = (project.path / "dist").glob("*.whl")
    verified = project.just("package-verify").stdout
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in verified
