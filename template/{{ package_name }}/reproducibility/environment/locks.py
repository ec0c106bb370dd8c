"""The locks, compiled from pyproject.toml by uv. Standard library only: it must work when a lock does not."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from ..common import shell, terminal
from ..common.command_line import command_line
from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.files import write_whole
from ..common.project import ROOT
from ..common.scratch import temporary_folder
from ..common.uv import require_uv
from . import requirements, sdists
from .lockfile import CLUSTER_LOCK, DEVELOPMENT_LOCK, RUNTIME_LOCK, SERVER_LOCK, Pin, pins, read_lock, shown
from .requirements import normalized

BUILD_LOCK = ROOT / "constraints-build.txt"
LOCKS = {
    "runtime": RUNTIME_LOCK,
    "build": BUILD_LOCK,
    "development": DEVELOPMENT_LOCK,
    "server": SERVER_LOCK,
    "cluster": CLUSTER_LOCK,
}


def compile_locks(names: list[str], upgrade: list[str] | None = None) -> None:
    """Compile locks from pyproject.toml, for every system and every Python that it allows.

    Versions that still fit are kept. Hashes are always asked for anew, so that a wrong one does not
    survive. All locks are written, or none.

    Parameters
    ----------
    names : list of str
        Of "runtime", "build", "development" and "cluster", and "server" where there is one.
    upgrade : list of str, optional
        Packages whose version need not be kept; an empty list means all.

    Raises
    ------
    ProjectError
        If a package to upgrade is in no lock, a requirement can have no hash, there is no uv, or uv finds no versions
        that fit together.
    """
    asked_by = os.getppid()
    moving = {normalized(name) for name in upgrade or []}
    _require_known(moving, [LOCKS[name] for name in names])
    pyproject = requirements.read()
    requirements.require_hashes(pyproject)
    floor = re.search(r">=\s*(3\.\d+)", pyproject["project"]["requires-python"])
    if floor is None:
        raise ProjectError("`requires-python` names no lowest version.", 'requires-python = ">=3.11"')
    require_uv()
    _tell_withheld()
    universal = ["--universal", "--python-version", floor[1], "--fork-strategy", "fewest", "--no-header", "--quiet"]
    # The addresses of indexes may hold passwords.
    options = ["--generate-hashes", "--no-annotate", "--no-emit-index-url", "--no-emit-index-annotation"]
    with temporary_folder("locks") as folder:
        drafts = {name: folder / name / LOCKS[name].name for name in names}
        for name, draft in drafts.items():
            draft.parent.mkdir()
            keep = [] if upgrade == [] else [pin for pin in _pinned(LOCKS[name]) if pin.name not in moving]
            draft.write_text("\n".join(map(str, keep)), "utf-8")  # no hashes: uv would copy them, also a wrong one
            project = draft.with_name("pyproject.toml")
            project.write_text(requirements.draft(pyproject, name), "utf-8")
            more = ["--no-sources"] if name == "build" else []
            if name == "server":
                # The tracking server's MLflow is that of the runs, whose clients talk to it. The rest is its own.
                runtime = (str(pin) for pin in pins(drafts.get("runtime", RUNTIME_LOCK)) if _is_mlflow(pin.name))
                draft.with_name("mlflow.txt").write_text("\n".join(runtime), "utf-8")
                more = ["--constraint", str(draft.with_name("mlflow.txt"))]
            if name == "development":
                # The tools' lock names the same versions as the runtime's wherever both name a package.
                more = ["--constraint", str(drafts.get("runtime", RUNTIME_LOCK))]
                more += ["--group", f"{project}:dev"] if "dev" in pyproject.get("dependency-groups", {}) else []
            if name == "cluster":
                more = ["--constraint", str(drafts.get("development", DEVELOPMENT_LOCK))]
            terminal.begin(f"compiling {shown(LOCKS[name])}")
            _uv("pip", "compile", str(project), *universal, *options, *more, "--output-file", str(draft))
            requirements.refuse(requirements.unpinned(draft.read_text("utf-8")))
            pages = requirements.pages(pyproject, set(read_lock(draft))) if name != "build" else []
            draft.write_text("".join(f"--find-links {page}\n" for page in pages) + draft.read_text("utf-8"), "utf-8")
        for name in drafts.keys() - ({"runtime"} if "development" in drafts else set()):
            _tell_unbuilt(drafts[name], Path(folder) / "pylock.toml", universal)
        if os.getppid() != asked_by:  # an update that was killed, and may be taken back by now
            raise ProjectError("whoever asked for the locks is gone, so they are as they were.", "just lock")
        for name, draft in drafts.items():
            _tell(LOCKS[name], draft)
            write_whole(LOCKS[name], draft.read_text("utf-8"))


def check() -> None:
    """Compare the locks with pyproject.toml and with one another, without a network.

    Raises
    ------
    ProjectError
        If a requirement is not locked or its locked version does not fit.
    """
    from packaging.requirements import Requirement

    pyproject = requirements.read()
    requirements.require_hashes(pyproject)
    asked = _kept(requirements.wanted(pyproject))
    locked = {name: read_lock(LOCKS[name]) for name in asked}
    problems = []
    for name, wanted in asked.items():
        for requirement in map(Requirement, wanted):
            version, _ = locked[name].get(normalized(requirement.name), (None, ""))
            if requirement.url and f"{requirement.name} @ {requirement.url}" not in LOCKS[name].read_text("utf-8"):
                problems.append(f"{shown(LOCKS[name])} lacks {requirement}")
            elif version is None or not requirement.specifier.contains(version, prereleases=True):
                found = f"has {requirement.name} {version}" if version else f"lacks {requirement.name}"
                problems.append(f"{shown(LOCKS[name])} {found}, wanted is {requirement}")
    for name in {"development", "server"} & asked.keys():
        for package, (version, _) in locked["runtime"].items():
            other = locked[name].get(package, ("not at all", ""))[0]
            if other != version and (name == "development" or _is_mlflow(package)):
                problems.append(f"{package} is {version} in {RUNTIME_LOCK.name} and {other} in {shown(LOCKS[name])}")
    for package, (version, _) in locked.get("cluster", {}).items():
        other = locked["development"].get(package, (version, ""))[0]
        if other != version:
            problems.append(f"{package} is {other} in {DEVELOPMENT_LOCK.name} and {version} in {CLUSTER_LOCK.name}")
    if problems:
        raise ProjectError("the locks are not in step:\n  " + "\n  ".join(problems), "just lock && just setup")


def _kept(wanted: dict[str, list[str]]) -> dict[str, list[str]]:
    """Leave out the lock of clusters where there is none: who sweeps on one machine needs none."""
    return {name: asked for name, asked in wanted.items() if name != "cluster" or CLUSTER_LOCK.exists()}


def _is_mlflow(package: str) -> bool:
    return package == "mlflow" or package.startswith("mlflow-")


def _pinned(lock: Path) -> list[Pin]:
    return pins(lock) if lock.exists() else []


def _require_known(names: set[str], locks: list[Path]) -> None:
    unknown = names - {pin.name for lock in locks for pin in _pinned(lock)}
    if unknown:
        raise ProjectError(f"{', '.join(sorted(unknown))} is in no lock.", "Add it to pyproject.toml: just lock", USAGE)


def _uv(*arguments: str) -> None:
    if subprocess.run(["uv", *arguments], cwd=ROOT, env=shell.child()).returncode:
        raise ProjectError(
            "the locks are as they were: uv could not compile them and says why above.",
            "Loosen or correct the requirement that it names, in pyproject.toml.",
        )


def _tell_withheld() -> None:
    """Say what of the shell does not decide here, though uv alone would let it."""
    names = [name for name in shell.withheld() if re.match("UV_(?!RUN_|INTERNAL_)", name)]
    if names:
        terminal.notice(
            f"{', '.join(names)} of the shell is not used: [tool.uv] of pyproject.toml decides what is locked."
        )


def _tell_unbuilt(lock: Path, pylock: Path, universal: list[str]) -> None:
    """Name the packages of a lock that have no wheel."""
    import tomllib

    _uv("pip", "compile", str(lock), *universal, "--no-deps", "--format", "pylock.toml", "--output-file", str(pylock))
    packages = tomllib.loads(pylock.read_text("utf-8"))["packages"]
    python = re.search(r'^python: "3\.(\d+)', (ROOT / "python_env.yaml").read_text("utf-8"), re.MULTILINE)
    for package, systems in sdists.without_wheel(
        packages, int(python[1]) if python else sys.version_info.minor
    ).items():
        where = "" if len(systems) == len(sdists.SYSTEMS) else f" for {', '.join(systems)}"
        terminal.notice(
            f"{package} has no wheel{where}: it is built from source, by requirements that no lock pins. "
            "Another version may have one; or build one and put it on an index."
        )


def _tell(lock: Path, draft: Path) -> None:
    """Say what changes, above all a hash that changed while its version did not."""
    old = read_lock(lock) if lock.exists() and lock.read_text("utf-8").strip() else {}
    new = read_lock(draft)
    for name in sorted(old.keys() | new.keys()):
        before, after = (side.get(name, ("none", ""))[0] for side in (old, new))
        if old and before != after:
            print(f"{shown(lock)}: {name} {before} -> {after}")
    if old == new and lock.read_text("utf-8") != draft.read_text("utf-8"):
        print(f"{shown(lock)}: hashes changed although no version did. Look at `git diff {shown(lock)}`.")
    elif old == new or not old:
        print(f"{shown(lock)}: {len(new)} package{'s' * (len(new) != 1)}{', unchanged' * (old == new)}")


def main() -> None:
    """Compile or check the locks."""
    known = requirements.wanted(requirements.read())
    parser = argparse.ArgumentParser(prog="just lock", description="Compile the locks from pyproject.toml.")
    parser.add_argument("--upgrade", nargs="*", metavar="PACKAGE", help="to the newest versions: these, or all")
    parser.add_argument("--only", choices=known, help="one lock")
    parser.add_argument("--check", action="store_true", help="only compare them with pyproject.toml")
    arguments = parser.parse_args()
    if arguments.check:
        check()
        print("The locks are in step with pyproject.toml.")
    else:
        compile_locks([arguments.only] if arguments.only else list(_kept(known)), arguments.upgrade)


if __name__ == "__main__":
    command_line(main)
