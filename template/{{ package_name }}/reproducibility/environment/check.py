"""Is the environment of this process what the lock says? If not, it is repaired or refused. Standard library only."""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from ..common import restart, shell
from ..common.errors import ProjectError
from ..common.project import ROOT
from ..common.uv import require_uv
from . import bytecode, in_use, shadows
from .installed import MARKER, find_problems, remember, wrong_packages
from .installed_files import recorded, surplus
from .lockfile import DEVELOPMENT_LOCK, RUNTIME_LOCK

VENV_PYTHON = ROOT / (".venv/Scripts/python.exe" if os.name == "nt" else ".venv/bin/python")


def ensure(files: bool = True) -> None:
    """Make sure that this interpreter's packages are the locked ones, or say what to do.

    An environment that MLflow built is repaired in place and the process starts again in it, once.

    Parameters
    ----------
    files : bool, default True
        Also look at every installed file, not only at names and versions. Takes about 60 ms where
        nothing changed since the last look.

    Raises
    ------
    ProjectError
        If packages are missing, surplus, of another version or changed after their installation.
    """
    prefix, site_packages = Path(sys.prefix), Path(sysconfig.get_path("purelib"))
    lock = own_lock()
    in_venv = lock is DEVELOPMENT_LOCK
    hold()
    repaired = restart.was_for("repair")
    problems = find_problems(site_packages, prefix, lock, files)
    _refuse_other_code(site_packages)
    shadows.refuse(site_packages)
    if not problems:
        # A run records the runtime lock: what .venv has of it must be of its versions.
        parted = wrong_packages(site_packages, RUNTIME_LOCK, surplus=True) if in_venv else []
        if parted:
            raise ProjectError(f"constraints.txt is out of step with .venv: {parted[0]}.", "just lock && just setup")
        bytecode.watch()
        atexit.register(remember)
        return
    found = said(problems)
    if is_mlflow_environment(prefix) and not repaired:
        print(f"The environment {prefix} is not what {lock.name} says ({found}). Repairing it.", file=sys.stderr)
        with in_use.alone(prefix):
            if find_problems(site_packages, prefix, lock, files):  # not so if another process was quicker
                repair(prefix, site_packages, lock)
        restart.restart("repair")
    if in_venv:
        fix = "just setup"
    elif is_mlflow_environment(prefix):
        fix = f"rm -r {shlex.quote(str(prefix))}      then `just run` builds it anew"
    else:  # an environment, or a whole Python, that is not this project's: nothing of it is to be deleted
        fix = f"Use the project's own: `just setup` makes it, `just …` or {VENV_PYTHON} uses it."
    raise ProjectError(f"the environment {prefix} is not what {lock.name} says: {found}.", fix + hint(problems))


def hold() -> None:
    """Let nobody delete or rebuild the environment of this process until it ends, if it is of this project's making."""
    prefix = Path(sys.prefix)
    if own_lock() is DEVELOPMENT_LOCK or is_mlflow_environment(prefix):
        in_use.hold(prefix)


def said(problems: list[str]) -> str:
    """Name the first few problems, and how many more there are."""
    return "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")


def hint(problems: list[str]) -> str:
    """Say how to do rightly what many do by changing an installed file; "" where none did."""
    if not any("certifi/cacert.pem" in problem for problem in problems):
        return ""
    return (
        "\nA certificate of your company's belongs into a file outside the environments, with all others that you need:"
        "\nexport SSL_CERT_FILE=/path/to/bundle.pem REQUESTS_CA_BUNDLE=/path/to/bundle.pem"
    )


def own_lock() -> Path:
    """Name the lock that this interpreter's packages must be those of: the development lock in .venv."""
    in_venv = (ROOT / ".venv").exists() and Path(sys.prefix).samefile(ROOT / ".venv")
    return DEVELOPMENT_LOCK if in_venv else RUNTIME_LOCK


def is_as_locked() -> bool:
    """Tell whether this interpreter's packages are the locked ones, by names and versions."""
    return not wrong_packages(Path(sysconfig.get_path("purelib")), own_lock())


def is_mlflow_environment(prefix: Path) -> bool:
    """Tell whether MLflow made this environment, which nobody else's work can then be in."""
    return re.fullmatch(r"mlflow-[0-9a-f]{40}", prefix.name) is not None


def site_packages(prefix: Path) -> Path:
    """Give the folder of an environment's packages, whether it is there or not."""
    pattern = "Lib/site-packages" if (prefix / "Lib").exists() else "lib/python3*/site-packages"
    return next(prefix.glob(pattern), prefix / pattern)


def repair(prefix: Path, site_packages: Path, lock: Path) -> None:
    """Bring an environment back to its lock, every file from the package index or a fresh cache entry.

    Raises
    ------
    ProjectError
        If it is not what the lock says even then.
    """
    require_uv()
    (prefix / MARKER).unlink(missing_ok=True)
    for folder in site_packages.rglob("__pycache__"):
        shutil.rmtree(folder)
    # `--reinstall` also refreshes uv's cache, which shares its files with environments by hard links.
    command = ["uv", "pip", "sync", "--python", str(prefix), "--reinstall", "--require-hashes", str(lock)]
    if subprocess.run(command, cwd=ROOT, env=shell.child()).returncode:
        raise ProjectError(
            f"{prefix} could not be repaired; uv says why above.",
            f"Mend what uv names, or delete {prefix}, then start again.",
        )
    for path in surplus(site_packages, recorded(site_packages)):
        (site_packages / path).unlink()
    if problems := find_problems(site_packages, prefix, lock, fresh=True):
        raise ProjectError(
            f"{prefix} could not be repaired, as uv's cache was changed too and nothing better came from the package "
            f"index: {said(problems)}.",
            "Try again when the index can be reached (without UV_OFFLINE); or `uv cache clean` first." + hint(problems),
        )


def _refuse_other_code(site_packages: Path) -> None:
    """Stop where Python would import from elsewhere too: what the lock says would then not be what runs."""
    homes = [ROOT, site_packages, *(Path(path) for path in {sys.prefix, sys.base_prefix, sys.exec_prefix})]
    homes = [home.resolve() for home in homes] + homes
    strange = [path for path in sys.path if path and not any(Path(path).is_relative_to(home) for home in homes)]
    if sys.prefix != sys.base_prefix:  # `include-system-site-packages` of pyvenv.cfg
        packages = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
        strange += [path for path in packages if path not in strange and not Path(path).is_relative_to(sys.prefix)]
    strange = [path for path in strange if "debugpy" not in path and "pydevd" not in path]  # an editor's debugger
    if strange:
        raise ProjectError(
            f"Python would import other code than the locked: {', '.join(strange)} is on its path.",
            "unset PYTHONPATH" if "PYTHONPATH" in os.environ else "just setup",
        )
