"""The environments in which MLflow runs this project: built from the lock, checked before use, deleted after it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from ..common import shell, terminal
from ..common.errors import ProjectError
from ..common.files import write_whole
from ..common.locking import exclusive
from ..common.project import ROOT
from ..common.uv import require_uv
from . import bytecode, check, in_use, installed
from .lockfile import RUNTIME_LOCK

#: In an environment: the projects that have used it.
USERS = "projects.json"


def folder() -> Path:
    """Give the folder of all of MLflow's environments."""
    from mlflow.environment_variables import MLFLOW_ENV_ROOT

    return Path(MLFLOW_ENV_ROOT.get())


def current(root: Path = ROOT) -> Path:
    """Give the path of the environment that a project's lock and Python ask for, whether it exists or not."""
    from mlflow.utils.virtualenv import _get_virtualenv_name

    return folder() / str(_get_virtualenv_name(_python_env(root), root))


def ready(root: Path = ROOT) -> Path:
    """Make sure that the environment exists and is what the lock says; build or rebuild it where it is not.

    To MLflow an environment whose folder exists is finished. So one that an interrupt left half-built, or
    that two runs built at once, would be used for ever. Here one process at a time looks and builds.

    Parameters
    ----------
    root : Path
        The project whose lock and Python are meant: this one, or a checkout of it as it was.

    Raises
    ------
    ProjectError
        If it cannot be built: a hash of the lock does not fit, the network is down, no such Python.
    """
    require_uv()
    path, lock = current(root), root / RUNTIME_LOCK.name
    with exclusive(path):
        if path.exists() and (problems := _problems(path, lock)):
            print(f"The environment {path} is not what constraints.txt says: {problems[0]}. Building it anew.")
            with in_use.alone(path):
                shutil.rmtree(path)
        if not path.exists():
            _build(path, root)
            # Out of uv's cache, which shares its files with environments by hard links.
            if _problems(path, lock, fresh=True):
                check.repair(path, check.site_packages(path), lock)
            _lend_bytecode(path)
            _problems(path, lock, fresh=True)  # all bytecode that is there by now is known
        in_use.hold(path)
        if root == ROOT:
            _add_user(path)
    return path


def unneeded() -> list[Path]:
    """List the environments of this project that no lock needs any more: neither its own nor another project's."""
    found = []
    for users in sorted(folder().glob(f"mlflow-*/{USERS}")):
        roots = [Path(root) for root in json.loads(users.read_text("utf-8"))]
        if ROOT in roots and users.parent not in [current(root) for root in roots if _is_project(root)]:
            found.append(users.parent)
    return found


def delete(path: Path) -> None:
    """Delete an environment, when nobody builds it or works in it any more."""
    with exclusive(path), in_use.alone(path):
        shutil.rmtree(path)


def size(path: Path) -> int:
    """Add up the bytes of a folder's files. Files that uv's cache shares with it are counted too."""
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def _build(path: Path, root: Path) -> None:
    from mlflow.utils.process import ShellCommandException
    from mlflow.utils.virtualenv import _create_virtualenv

    logging.getLogger("mlflow.utils.virtualenv").setLevel(logging.WARNING)
    print(f"Building the environment {path}", file=sys.stderr)
    for name in shell.withheld():  # MLflow hands this process's variables on to uv
        del os.environ[name]
    try:
        _create_virtualenv(root, _python_env(root), path, env_manager="uv")
    except ShellCommandException as error:
        raise ProjectError(
            "the environment could not be built, so nothing of it was kept; uv says why above.",
            "A hash that does not match: `git diff constraints.txt`; if the lock itself is at fault, `just lock`.\n"
            "A Python that is not there: `uv python install` or another one in python_env.yaml.",
        ) from error


def _python_env(root: Path) -> Any:
    from mlflow.utils.environment import _PythonEnv

    return _PythonEnv.from_yaml(root / "python_env.yaml")


def _lend_bytecode(path: Path) -> None:
    installed.remember()  # what this very process has compiled is known too
    own = Path(sysconfig.get_path("purelib"))
    bytecode.lend(own, installed.known_bytecode(Path(sys.prefix)), check.site_packages(path))


@terminal.waiting("verifying the environment")
def _problems(path: Path, lock: Path, fresh: bool = False) -> list[str]:
    site_packages = check.site_packages(path)
    if not site_packages.exists():
        return ["it has no packages"]
    if not python(path).exists():  # a link to an interpreter that was since upgraded away
        return ["its Python is gone"]
    return installed.find_problems(site_packages, path, lock, fresh=fresh)


def python(path: Path) -> Path:
    """Give the interpreter of an environment."""
    return path / ("Scripts/python.exe" if (path / "Scripts").exists() else "bin/python")


def _add_user(path: Path) -> None:
    users = path / USERS
    known = json.loads(users.read_text("utf-8")) if users.exists() else []
    if str(ROOT) not in known:
        write_whole(users, json.dumps([*known, str(ROOT)]))


def _is_project(root: Path) -> bool:
    return (root / "python_env.yaml").exists() and (root / "constraints.txt").exists()
