"""Prove that the wheel is deterministic: built twice, with everything changed that must not matter."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from ..common import shell, terminal
from ..common.command_line import command_line
from ..common.errors import ProjectError
from ..common.project import ROOT
from ..common.scratch import temporary_folder
from ..common.uv import require_uv
from .locks import BUILD_LOCK

#: No part of a wheel, and some of it large.
LEFT_OUT = {"data", "dist", "mlruns", "mlartifacts"}


def build(folder: Path, python: str, umask: int, modified: int, variables: dict[str, str]) -> Path:
    """Build the wheel from a copy of the project.

    Parameters
    ----------
    folder : Path
        Where the copy is made.
    python : str
        Version of the Python that runs the build backend.
    umask : int
        The process's file mode mask.
    modified : int
        The time of every file, in seconds since 1970.
    variables : dict of str to str
        Environment variables on top of this process's.
    """
    require_uv()
    terminal.begin(f"building the wheel in {folder}")
    former = os.umask(umask)
    try:
        shutil.copytree(ROOT, folder, ignore=_left_out, copy_function=shutil.copyfile)
        for file in folder.rglob("*"):
            os.utime(file, (modified, modified))
        command = ["uv", "build", "--quiet", "--wheel", "--clear", "--force-pep517", "--no-sources", "--require-hashes"]
        command += ["--build-constraint", str(BUILD_LOCK), "--python", python, "--out-dir", "dist"]
        if subprocess.run(command, cwd=folder, env=shell.child() | variables).returncode:
            raise ProjectError("the wheel cannot be built; uv says why above.", "just package-constraints")
    finally:
        os.umask(former)
    return next((folder / "dist").glob("*.whl"))


def verify(python: str) -> None:
    """Build in two places, with another umask, time zone, locale, hash seed and file times, and compare.

    Raises
    ------
    ProjectError
        Naming the members of the wheel that differ.
    """
    from ..common.digest import of_file

    with temporary_folder("wheel") as folder:
        plain = build(folder / "a", python, 0o022, 1_700_000_000, {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"})
        other = {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "SOURCE_DATE_EPOCH": "1000000000"}
        twin = build(folder / "elsewhere" / "b", python, 0o077, 1_000_000_000, other)
        digests = of_file(plain), of_file(twin)
        if digests[0] != digests[1]:
            raise ProjectError(
                f"the two wheels differ in: {', '.join(_differing(plain, twin)) or 'order or time of their members'}.",
                "Use a build backend that writes no times into its wheels: uv_build, hatchling, poetry-core.",
            )
        print(f"{plain.name}: identical in two builds, {digests[0]}")


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Leave out of the copy what lies at the project's root; a folder `data` in the package belongs to the wheel."""
    at_root = {name for name in names if name in LEFT_OUT or name.startswith((".", "mlflow.db"))}
    return (at_root if Path(folder) == ROOT else set()) | ({"__pycache__"} & set(names))


def _differing(one: Path, other: Path) -> list[str]:
    with zipfile.ZipFile(one) as a, zipfile.ZipFile(other) as b:
        members = [{info.filename: info.CRC for info in wheel.infolist()} for wheel in (a, b)]
    return sorted(
        name for name in members[0].keys() | members[1].keys() if members[0].get(name) != members[1].get(name)
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="just package-verify", description=verify.__doc__)
    parser.add_argument("--python", required=True, help="the Python that runs the build backend")
    verify(parser.parse_args().python)


if __name__ == "__main__":
    command_line(main)
