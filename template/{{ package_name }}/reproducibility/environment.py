"""Is what is installed what the lock says? Checked before anything heavy is imported, so standard library only."""

from __future__ import annotations

import atexit
import base64
import contextlib
import csv
import hashlib
import importlib.machinery
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

from . import bytecode, in_use, markers, shadows, shell
from .project import ROOT, ProjectError, require_uv, write_whole
from .requirements import normal

RUNTIME_LOCK = ROOT / "constraints.txt"
DEVELOPMENT_LOCK = ROOT / "constraints-dev.txt"
#: Left in an environment that was found whole: the lock's digest, size and time of every file, and of the bytecode
#: that is known to be what its source compiles to. (Older releases left `verified.json`, having looked at less.)
MARKER = "as-locked.json"
#: An entry of a lock: the package, `==version` or ` @ address`, and where it holds.
PIN = re.compile(r"^([\w.-]+)(==[^\s;]+| @ \S+)(?: ; ([^\\\n]*))?", re.MULTILINE)
#: Installed by environment managers themselves, not by the lock.
INSTALLERS = {"pip", "setuptools", "wheel"}
INSTALLER_FILES = {"_virtualenv.py", "_virtualenv.pth", "distutils-precedence.pth"}
#: Where packages put scripts and data, beside their folder.
OUTSIDE = ("bin", "Scripts", "share", "etc")
#: What Python imports or obeys.
CODE = (*importlib.machinery.all_suffixes(), ".pth")
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
    problems = find_problems(site_packages, prefix, lock, files)
    _refuse_other_code(site_packages)
    shadows.refuse(site_packages)
    if not problems:
        # A run records the runtime lock: what .venv has of it must be of its versions.
        parted = _wrong_packages(site_packages, RUNTIME_LOCK, surplus=True) if in_venv else []
        if parted:
            raise ProjectError(f"constraints.txt is out of step with .venv: {parted[0]}.", "just lock && just setup")
        bytecode.watch()
        atexit.register(remember)
        return
    found = said(problems)
    if is_mlflow_environment(prefix) and os.environ.pop("REPRO_REPAIRED", None) is None:
        print(f"The environment {prefix} is not what {lock.name} says ({found}). Repairing it.", file=sys.stderr)
        with in_use.alone(prefix):
            if find_problems(site_packages, prefix, lock, files):  # not so if another process was quicker
                repair(prefix, site_packages, lock)
        os.environ["REPRO_REPAIRED"] = "1"
        shell.restart()
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
    return not _wrong_packages(Path(sysconfig.get_path("purelib")), own_lock())


def is_mlflow_environment(prefix: Path) -> bool:
    """Tell whether MLflow made this environment, which nobody else's work can then be in."""
    return re.fullmatch(r"mlflow-[0-9a-f]{40}", prefix.name) is not None


def site_packages(prefix: Path) -> Path:
    """Give the folder of an environment's packages, whether it is there or not."""
    pattern = "Lib/site-packages" if (prefix / "Lib").exists() else "lib/python3*/site-packages"
    return next(prefix.glob(pattern), prefix / pattern)


def find_problems(site_packages: Path, prefix: Path, lock: Path, files: bool = True, fresh: bool = False) -> list[str]:
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
        Also compare the installed files with what their wheels recorded, and bytecode with its source.
    fresh : bool, default False
        It was made just now, where nobody else could reach it: its bytecode is what was compiled then.

    Returns
    -------
    list of str
        One phrase a problem; empty if the environment is what the lock says.
    """
    problems = _wrong_packages(site_packages, lock)
    if problems or not files:
        return problems
    snapshot, compiled = _snapshot(site_packages, prefix)
    seen = {"lock": hashlib.sha256(lock.read_bytes()).hexdigest(), "files": snapshot, "bytecode": compiled}
    last = _last_look(prefix)
    if (last.get("lock"), last.get("files")) != (seen["lock"], snapshot):
        problems = _changed_files(site_packages, lock)
    # Bytecode takes seconds. Where its user can write nothing, an image's for example, who should have planted it?
    if not problems and not fresh and os.access(prefix, os.W_OK):
        known = last["bytecode"] if last.get("lock") == seen["lock"] else {}
        problems = bytecode.planted(site_packages, (path for path in compiled if known.get(path) != compiled[path]))
    if not problems and seen != last:
        _keep(prefix, seen)
    return problems


def remember() -> None:
    """Add to the last look what this process has compiled since: it need not be looked at then."""
    prefix, site_packages = Path(sys.prefix), Path(sysconfig.get_path("purelib"))
    start = f"{site_packages}{os.sep}"
    own = {path: stamp for path, stamp in bytecode.written.items() if path.startswith(start)}
    # Only what came from sources that were looked at.
    if own and (last := _last_look(prefix)).get("files") == _snapshot(site_packages, prefix)[0]:
        last["bytecode"] |= {path[len(start) :].replace(os.sep, "/"): stamp for path, stamp in own.items()}
        _keep(prefix, last)


def known_bytecode(prefix: Path) -> dict[str, str]:
    """Give the bytecode of an environment that is what its source compiles to, with size and time of then."""
    known: dict[str, str] = _last_look(prefix).get("bytecode", {})
    return known


def read_lock(lock: Path) -> dict[str, tuple[str, str]]:
    """Read a lock as `{name: (version, marker)}`; of a package that it pins for several systems, what holds here.

    Raises
    ------
    ProjectError
        If the lock is missing or holds no pinned requirement.
    """
    try:
        found = pins(lock)
    except OSError as error:
        raise ProjectError(f"the lock {lock.name} is missing.", f"git checkout -- {lock.name}") from error
    if not found:
        raise ProjectError(f"the lock {lock.name} pins nothing.", f"git checkout -- {lock.name}")
    locked: dict[str, tuple[str, str]] = {}
    for pin in found:
        if pin.name not in locked or markers.holds(pin.marker):
            locked[pin.name] = (pin.version, pin.marker)
    return locked


class Pin(NamedTuple):
    """An entry of a lock, without hashes; as text, the requirement that it is.

    Parameters
    ----------
    name : str
        The package's, as all spellings of it share it.
    which : str
        `==version` or ` @ address`.
    marker : str
        Where it holds; "" for everywhere.
    """

    name: str
    which: str
    marker: str

    def __str__(self) -> str:
        """Write it as a lock does."""
        return f"{self.name}{self.which}{f' ; {self.marker}' if self.marker else ''}"

    @property
    def has_address(self) -> bool:
        """Whether a wheel at an address is pinned, instead of a version."""
        return self.which.startswith(" @ ")

    @property
    def version(self) -> str:
        """Give the version that is pinned; of an address, that of the wheel there."""
        if self.has_address:
            return urllib.parse.unquote(self.which.rpartition("/")[2]).split("-")[1]
        return self.which.removeprefix("==")


def pins(lock: Path) -> list[Pin]:
    """Read every entry of a lock, for whatever system it is."""
    return [Pin(normal(name), which, marker.strip()) for name, which, marker in PIN.findall(lock.read_text("utf-8"))]


def installed(site_packages: Path) -> dict[str, str]:
    """Give name and version of every installed package."""
    return dict(_distributions(site_packages))


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
    for path in _surplus(site_packages, _recorded(site_packages)):
        (site_packages / path).unlink()
    if problems := find_problems(site_packages, prefix, lock, fresh=True):
        raise ProjectError(
            f"{prefix} could not be repaired, as uv's cache was changed too and nothing better came from the package "
            f"index: {said(problems)}.",
            "Try again when the index can be reached (without UV_OFFLINE); or `uv cache clean` first." + hint(problems),
        )


def _distributions(site_packages: Path) -> list[tuple[str, str]]:
    folders = (folder.name.removesuffix(".dist-info").rpartition("-") for folder in site_packages.glob("*.dist-info"))
    return [(normal(name), version) for name, _, version in sorted(folders)]


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
    return problems + [f"{name} is missing" for name in absent if markers.holds(locked[name][1])]


def _last_look(prefix: Path) -> dict[str, Any]:
    try:
        last: dict[str, Any] = json.loads((prefix / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return last


def _keep(prefix: Path, seen: dict[str, Any]) -> None:
    # Someone else's environment, a container's for example: look again next time.
    with contextlib.suppress(OSError):
        write_whole(prefix / MARKER, json.dumps(seen))


def _snapshot(site_packages: Path, prefix: Path) -> tuple[str, dict[str, str]]:
    """Digest name, size and time of every installed file, and list those of the bytecode."""
    lines: list[str] = []
    compiled: dict[str, str] = {}
    pending = [(str(site_packages), "")]
    if (prefix / "pyvenv.cfg").exists():  # else it may be all of /usr
        pending += [(str(prefix / name), f"../{name}/") for name in OUTSIDE if (prefix / name).is_dir()]
    while pending:
        path, place = pending.pop()
        is_cache = place.endswith("__pycache__/")
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{place}{entry.name}/"))
                    continue
                status = entry.stat(follow_symlinks=False)
                if not is_cache:
                    lines.append(f"{place}{entry.name} {bytecode.stamp(status)}")
                elif entry.name.endswith(".pyc"):
                    compiled[place + entry.name] = bytecode.stamp(status)
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest(), compiled


def _changed_files(site_packages: Path, lock: Path) -> list[str]:
    """Compare every installed file with the digest in its wheel's RECORD; find the code that is in none."""
    problems = []
    addressed = {pin.name for pin in pins(lock) if pin.has_address}
    for folder in sorted(site_packages.glob("*.dist-info")):
        package, record = folder.name.removesuffix(".dist-info"), folder / "RECORD"
        from_elsewhere = (folder / "direct_url.json").exists() and normal(package.rpartition("-")[0]) not in addressed
        if not record.exists() or from_elsewhere:
            problems.append(f"{package} did not come from a package index, or its RECORD is missing")
            continue
        problems += [
            f"{path} of {package} was changed or is missing"
            for path, digest in _entries(record)
            if digest.startswith("sha256=") and not _has_digest(site_packages / path, digest[7:])
        ]
    surplus = _surplus(site_packages, _recorded(site_packages))
    return problems + [f"{path} belongs to no package" for path in surplus]


def _recorded(site_packages: Path) -> set[str]:
    records = site_packages.glob("*.dist-info/RECORD")
    return INSTALLER_FILES | {path for record in records for path, _ in _entries(record)}


def _entries(record: Path) -> list[tuple[str, str]]:
    """Read path and digest of every file of a package."""
    with record.open(encoding="utf-8", newline="") as lines:
        return [(path, digest) for path, digest, _size in csv.reader(lines)]


def _surplus(site_packages: Path, recorded: set[str]) -> list[str]:
    """List the code that no package brought and Python would import all the same; links too, as they may lead to it."""
    found = []
    for folder, folders, files in os.walk(site_packages):
        prefix = "" if Path(folder) == site_packages else Path(folder).relative_to(site_packages).as_posix() + "/"
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114 - thousands of them
        code = [name for name in files if name.endswith(CODE)]
        if prefix.endswith("__pycache__/"):
            code = [name for name in code if not name.endswith(".pyc")]  # looked at on its own
        found += [f"{prefix}{name}" for name in links + code if f"{prefix}{name}" not in recorded]
    return sorted(found)


def _has_digest(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == digest
