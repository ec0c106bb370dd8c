"""A file in the root that has the name of a package would be imported in its place."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from harness import load

shadows = load("environment.shadows")
errors = load("common.errors")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A project's root and its installed packages."""
    root, packages = tmp_path / "my bikes", tmp_path / "packages"
    for name in ("mlflow", "numpy", "tests", "bikes"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
    for name in ("six.py", "_cffi_backend.cpython-311-x86_64-linux-gnu.so", "numpy-2.0.dist-info", "google"):
        (packages / name).touch() if "." in name and "dist" not in name else (packages / name).mkdir()
    root.mkdir()
    monkeypatch.setattr(shadows, "ROOT", root)
    monkeypatch.setattr(shadows, "PACKAGE", "bikes")
    return root, packages


@pytest.mark.parametrize("name", ["mlflow.py", "numpy/__init__.py", "six/__init__.py", "numpy.so", "_cffi_backend.py"])
def test_what_hides_a_package_is_refused_with_the_command_that_mends_it(places: tuple[Path, Path], name: str) -> None:
    root, packages = places
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).touch()
    with pytest.raises(errors.ProjectError) as refused:
        shadows.refuse(packages)
    assert str(root / name.partition("/")[0]) in refused.value.cause
    command = refused.value.fix.partition(": ")[2]
    assert shlex.split(command)[0] == "mv"
    subprocess.run(command, shell=True, check=True, cwd=root)
    shadows.refuse(packages)


def test_what_hides_nothing_is_left_alone(places: tuple[Path, Path]) -> None:
    root, packages = places
    for name in ("numpy", "google", "data"):  # no package without __init__.py
        (root / name).mkdir()
    for name in ("mine.py", "numpy.txt", "mlflow.db", "train.py"):
        (root / name).touch()
    for name in ("tests", "bikes", "google"):
        (root / name).mkdir(exist_ok=True)
        (root / name / "__init__.py").touch()
    shadows.refuse(packages)
