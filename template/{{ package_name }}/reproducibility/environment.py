"""Is what is installed what the lock says? Checked before anything heavy is imported, so standard library only."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from . import shadows
from .project import ROOT, ProjectError, write_whole

RUNTIME_LOCK = ROOT / "constraints.txt"
DEVELOPMENT_LOCK = ROOT / "constraints-dev.txt"
#: Left in an environment that was found whole: the lock's digest, and size and time of every file.
MARKER = "verified.json"
#: Installed by environment managers themselves, not by the lock.
INSTALLERS = {"pip", "setuptools", "wheel"}
INSTALLER_FILES = {"_virtualenv.py", "_virtualenv.pth", "distutils-precedence.pth"}
VENV_PYTHON = ROOT / (".venv/Scripts/python.exe" if os.name == "nt" else ".venv/bin/python")


def ensure(files: bool = True, fresh: bool = False) -> None:
    """Make sure that this interpreter's packages are the locked ones, or say what to do.

    An environment that MLflow built is repaired in place and the process starts again in it, once.

    Parameters
    ----------
    files : bool, default True
        Also look at every installed file, not only at names and versions. Takes about 60 ms where
        nothing changed since the last look.
    fresh : bool, default False
        It was installed just now: what is wrong with it came out of uv's cache, and is repaired too.

    Raises
    ------
    ProjectError
        If packages are missing, surplus, of another version or changed after their installation.
    """
    prefix, site_packages = Path(sys.prefix), Path(sysconfig.get_path("purelib"))
    lock = own_lock()
    in_venv = lock is DEVELOPMENT_LOCK
    problems = find_problems(site_packages, prefix, lock, files)
    _refuse_other_code(site_packages)
    shadows.refuse(site_packages)
    if not problems:
        # A run records the runtime lock: what .venv has of it must be of its versions.
        parted = _wrong_packages(site_packages, RUNTIME_LOCK, surplus=True) if in_venv else []
        if parted:
            raise ProjectError(f"constraints.txt is out of step with .venv: {parted[0]}.", "just lock && just setup")
        return
    found = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
    if (fresh or is_mlflow_environment(prefix)) and os.environ.pop("REPRO_REPAIRED", None) is None:
        print(f"The environment {prefix} is not what {lock.name} says ({found}). Repairing it.", file=sys.stderr)
        repair(prefix, lock)
        os.environ["REPRO_REPAIRED"] = "1"
        restart()
    if in_venv:
        fix = "just setup"
    elif is_mlflow_environment(prefix):
        fix = f"Delete {prefix}, then `just run` builds it anew."
    else:  # an environment, or a whole Python, that is not this project's: nothing of it is to be deleted
        fix = f"Use the project's own: `just setup` makes it, `just …` or {VENV_PYTHON} uses it."
    raise ProjectError(f"the environment {prefix} is not what {lock.name} says: {found}.", fix)


def own_lock() -> Path:
    """Name the lock that this interpreter's packages must be those of: the development lock in .venv."""
    in_venv = (ROOT / ".venv").exists() and Path(sys.prefix).samefile(ROOT / ".venv")
    return DEVELOPMENT_LOCK if in_venv else RUNTIME_LOCK


def is_as_locked() -> bool:
    """Tell whether this interpreter's packages are the locked ones, by names and versions."""
    return not _wrong_packages(Path(sysconfig.get_path("purelib")), own_lock())


def is_mlflow_environment(prefix: Path) -> bool:
    """Tell whether MLflow made this environment, which nobody else's work can then be in."""
    return re.fullmatch(r"mlflow-[0-9a-f]{40}", prefix.name) is not None


def restart() -> None:
    """Start this very command again, with the environment variables as they are now. Does not return."""
    sys.stdout.flush()
    command = [sys.executable, *sys.orig_argv[1:]]
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - replaces this process: same PID, signals, exit code
    sys.exit(subprocess.run(command).returncode)


def find_problems(site_packages: Path, prefix: Path, lock: Path, files: bool = True) -> list[str]:
    """Compare installed packages with a lock.

    Parameters
    ----------
    site_packages : Path
        The folder of the installed packages.
    prefix : Path
        The environment's root, where the marker of the last look lies.
    lock : Path
        A requirements file with hashes.
    files : bool, default True
        Also compare the installed files with what their wheels recorded.

    Returns
    -------
    list of str
        One phrase a problem; empty if the environment is what the lock says.
    """
    problems = _wrong_packages(site_packages, lock)
    if problems or not files:
        return problems
    seen = {"lock": hashlib.sha256(lock.read_bytes()).hexdigest(), "files": _snapshot(site_packages)}
    marker = prefix / MARKER
    if marker.exists() and marker.read_text("utf-8") == json.dumps(seen):
        return []
    problems = _changed_files(site_packages)
    if not problems:
        # Someone else's environment, a container's for example: look again next time.
        with contextlib.suppress(OSError):
            write_whole(marker, json.dumps(seen))
    return problems


def read_lock(lock: Path) -> dict[str, tuple[str, str]]:
    """Read a lock as `{name: (version, marker)}`.

    Raises
    ------
    ProjectError
        If the lock is missing or holds no pinned requirement.
    """
    try:
        pins = re.findall(r"^([\w.-]+)==([^\s;]+)(?: ; ([^\\\n]*))?", lock.read_text("utf-8"), re.MULTILINE)
    except OSError as error:
        raise ProjectError(f"the lock {lock.name} is missing.", f"git checkout -- {lock.name}") from error
    if not pins:
        raise ProjectError(f"the lock {lock.name} pins nothing.", f"git checkout -- {lock.name}")
    return {_normal(name): (version, marker.strip()) for name, version, marker in pins}


def installed(site_packages: Path) -> dict[str, str]:
    """Give name and version of every installed package."""
    return dict(_distributions(site_packages))


def repair(prefix: Path, lock: Path) -> None:
    """Bring an environment back to its lock, every file from the package index or a fresh cache entry."""
    uv = shutil.which("uv")
    if uv is None:
        raise ProjectError("uv is not on the PATH.", "pip install uv")
    # `--reinstall` also refreshes uv's cache, which shares its files with environments by hard links.
    command = [uv, "pip", "sync", "--python", str(prefix), "--reinstall", "--require-hashes", str(lock)]
    (prefix / MARKER).unlink(missing_ok=True)
    if subprocess.run(command, cwd=ROOT).returncode:
        raise ProjectError(
            f"{prefix} could not be repaired; uv says why above.",
            f"Mend what uv names, or delete {prefix}, then start again.",
        )


def _distributions(site_packages: Path) -> list[tuple[str, str]]:
    folders = (folder.name.removesuffix(".dist-info").rpartition("-") for folder in site_packages.glob("*.dist-info"))
    return [(_normal(name), version) for name, _, version in sorted(folders)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _refuse_other_code(site_packages: Path) -> None:
    """Stop where Python would import from elsewhere too: what the lock says would then not be what runs."""
    homes = [ROOT, site_packages, *(Path(path) for path in {sys.prefix, sys.base_prefix, sys.exec_prefix})]
    homes = [home.resolve() for home in homes] + homes
    strange = [path for path in sys.path if path and not any(Path(path).is_relative_to(home) for home in homes)]
    strange = [path for path in strange if "debugpy" not in path and "pydevd" not in path]  # an editor's debugger
    if strange:
        raise ProjectError(
            f"Python would import other code than the locked: {', '.join(strange)} is on its path.", "unset PYTHONPATH"
        )


def _wrong_packages(site_packages: Path, lock: Path, surplus: bool = False) -> list[str]:
    locked, distributions = read_lock(lock), _distributions(site_packages)
    found = dict(distributions)
    names = [name for name, _ in distributions]
    problems = [f"{name} is installed twice" for name in found if names.count(name) > 1]
    for name, version in found.items():
        if name not in locked:
            if name not in INSTALLERS and not surplus:
                problems.append(f"{name} {version} is not locked")
        elif version != locked[name][0]:
            problems.append(f"{name} is {version}, locked is {locked[name][0]}")
    absent = [name for name in locked if name not in found]
    return problems + [f"{name} is missing" for name in absent if _wanted_here(locked[name][1])]


def _wanted_here(marker: str) -> bool:
    if not marker:
        return True
    try:
        from packaging.markers import Marker
    except ImportError:
        return False  # `packaging` is itself locked, without a marker: its absence is reported
    return Marker(marker).evaluate()


def _snapshot(folder: Path) -> str:
    """Digest of name, size and time of every installed file; bytecode is Python's own business."""
    lines: list[str] = []
    pending = [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        pending.append(entry.path)
                else:
                    status = entry.stat(follow_symlinks=False)
                    lines.append(f"{entry.path} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _changed_files(site_packages: Path) -> list[str]:
    """Compare every installed file with the digest in its wheel's RECORD; find those that are in none."""
    problems, recorded = [], set(INSTALLER_FILES)
    for folder in sorted(site_packages.glob("*.dist-info")):
        package, record = folder.name.removesuffix(".dist-info"), folder / "RECORD"
        if not record.exists() or (folder / "direct_url.json").exists():
            problems.append(f"{package} did not come from a package index, or its RECORD is missing")
            continue
        with record.open(encoding="utf-8", newline="") as lines:
            for path, digest, _size in csv.reader(lines):
                recorded.add(path)
                if digest.startswith("sha256=") and not _has_digest(site_packages / path, digest[7:]):
                    problems.append(f"{path} of {package} was changed or is missing")
    # Python imports what lies at the top, wherever it came from: sitecustomize.py, .pth files, modules.
    loose = {entry.name for entry in site_packages.iterdir() if entry.suffix in {".py", ".pth", ".so", ".pyd"}}
    return problems + [f"{name} belongs to no package" for name in sorted(loose - recorded)]


def _has_digest(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == digest
