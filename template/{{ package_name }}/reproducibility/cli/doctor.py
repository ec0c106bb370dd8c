"""Checks of this machine and this project, one line each, with the fix. Standard library only, any Python 3.9."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..common import addresses, shell, terminal
from ..common.command_line import command_line, own_places
from ..common.errors import ProjectError
from ..common.exit_codes import FAILED
from ..common.project import MAIN, PACKAGE, ROOT
from ..common.uv import UV_FIX
from ..environment import shadows
from ..environment.check import VENV_PYTHON, hint
from ..environment.lockfile import DEVELOPMENT_LOCK
from ..source.git import git, repository

#: A finding: is it well, what was looked at, and how to mend it.
Finding = tuple[bool, str, str]
ROOM_GB = 3


def machine() -> Iterator[Finding]:
    """Look at what this project needs of the machine."""
    for tool, fix in (("git", "https://git-scm.com"), ("uv", UV_FIX), ("just", "uv tool install rust-just")):
        path = shutil.which(tool)
        yield bool(path), f"{tool}: {path or 'not on the PATH'}", fix
    free = shutil.disk_usage(ROOT).free / 1e9
    yield (
        free > ROOM_GB,
        f"disk: {free:.0f} GB free",
        f"Free {ROOM_GB} GB; `just clean-envs` and `uv cache prune` help.",
    )
    if os.environ.get("PYTHONPATH"):
        yield False, "PYTHONPATH is set: other code than this project's may be imported", "unset PYTHONPATH"


def version_control() -> Iterator[Finding]:
    """Look at git: without a commit a run cannot name its code."""
    try:
        repository()
    except ProjectError as error:
        yield False, error.cause, error.fix
        return
    commit = git("rev-parse", "--short", "HEAD")
    yield bool(commit), f"commit: {commit or 'none'}", 'git init && git add -A && git commit -m "Start"'
    if commit:
        if git("rev-parse", "--show-prefix"):
            yield True, "git hooks: those of the repository that this project is a folder of", ""
        else:
            yield bool(git("config", "core.hooksPath")), "git hooks", "just setup"
        tracked = git("ls-files", ".env", "mlflow.db", "mlruns")
        yield not tracked, f"secrets and runs out of git{f': {tracked}' if tracked else ''}", "git rm --cached FILE"


def environment() -> Iterator[Finding]:
    """Look at .venv: there, of the right Python, and what the lock says."""
    from ..environment.installed import find_problems

    wanted = re.search(r'^python: "([0-9.]+)"', (ROOT / "python_env.yaml").read_text("utf-8"), re.MULTILINE)
    if not VENV_PYTHON.exists():
        yield False, ".venv: missing; what needs it was not looked at", "just setup"
        return
    ask = "import sys, sysconfig; print('%d.%d.%d' % sys.version_info[:3], sysconfig.get_path('purelib'), sep='\\n')"
    answer = subprocess.run([str(VENV_PYTHON), "-c", ask], capture_output=True, text=True, env=shell.child())
    if answer.returncode:
        yield False, ".venv: its Python does not start", "just setup"
        return
    version, site_packages = answer.stdout.splitlines()
    fits = wanted is not None and f"{version}.".startswith(f"{wanted[1]}.")
    yield fits, f".venv: Python {version}, python_env.yaml wants {wanted[1] if wanted else 'none'}", "just setup"
    problems = (
        find_problems(Path(site_packages), VENV_PYTHON.parents[1], DEVELOPMENT_LOCK)
        if sys.version_info >= (3, 11)
        else []
    )
    yield not problems, f"packages: {problems[0] if problems else 'as locked'}", "just setup" + hint(problems)
    try:
        shadows.refuse(Path(site_packages))
    except ProjectError as error:
        yield False, error.cause, error.fix


def project() -> Iterator[Finding]:
    """Look at locks, data, conf and store; needs .venv, in which this runs."""
    import importlib

    from .. import conf
    from ..datasets import manifest, verification
    from ..environment import locks
    from ..pipeline import order
    from ..selftest import keep
    from ..store import liveness, tracking
    from ..tracking_server import health
    from ..training import steps
    from . import leftovers

    def experiment() -> Any:
        return importlib.import_module(f"{PACKAGE}.__main__").experiment()

    def settings(step: str) -> None:
        schema, _ = steps.load(experiment, step)
        conf.validate(order.load(steps.steps_of(experiment), step)[step], schema)

    def data() -> None:
        for entry in manifest.read_manifest().values():
            if entry.file.exists():
                verification.verify(entry)

    ended: list[str] = []
    closed: list[str] = []

    def store() -> None:
        tracking.connect()
        ended.extend(leftovers.end_containers())  # before they could say anything else of their runs
        closed.extend(liveness.close_dead())

    known = [MAIN]
    with contextlib.suppress(Exception):  # what is wrong is told of the first conf
        known = [*steps.steps_of(experiment)]
    checks: dict[str, Callable[[], object]] = {
        "locks": locks.check,
        **{f"confs/{step}.yaml": partial(settings, step) for step in known},
        "data": data,
        f"tracking: {tracking.public(tracking.store_uri())}": store,
    }
    for name, look in checks.items():
        try:
            with terminal.waiting(f"looking at {name.partition(':')[0]}"):
                look()
        except ProjectError as error:
            yield False, f"{name}: {error.cause}", error.fix
        except Exception as error:
            told = tracking.explain(error) if look is store else _raised(error)
            yield False, f"{name}: {told.cause}", told.fix
        else:
            yield True, name, ""
    if closed:
        yield True, f"runs whose process is gone, now marked: {', '.join(closed)}", ""
    for name in ended:
        yield True, f"ended the container {name}, for which nobody waited any more", ""
    for path in leftovers.remove():
        yield True, f"removed {path}, left by a process that was killed", ""
    yield keep.finding()
    yield from health.findings()
    yield _template()


def _raised(error: Exception) -> ProjectError:
    """Say what the project's own code raised when it was imported, and where."""
    places = own_places(error)[-1:]
    at = "".join(f" ({place.tb_frame.f_code.co_filename}, line {place.tb_lineno})" for place in places)
    return ProjectError(
        f"{type(error).__name__}: {error}{at}", "Mend that; just train      shows all of the traceback."
    )


@terminal.waiting("asking for the newest release of the template")
def _template() -> Finding:
    """Say whether the template has a newer release; an old one, or no answer, is nothing to mend."""
    from .. import template_tool
    from ..common.waiting import is_free

    prefix = quote(git("rev-parse", "--show-prefix", folder=ROOT) or "", safe="")
    journal = git("rev-parse", "--path-format=absolute", "--git-path", f"template-update-{prefix}", folder=ROOT)
    if journal and Path(journal).exists() and is_free(Path(f"{journal}.lock")):
        fix = "just template-update      takes it back, then begins it anew"
        return False, "template: the last update was cut off", fix
    try:
        made = re.search(r"^_commit: '?([^'\n]+)", (ROOT / ".copier-answers.yml").read_text("utf-8"), re.MULTILINE)
        version, source = made[1] if made else "", template_tool.source()
    except (OSError, ValueError, SyntaxError) as error:
        version, source = "", f"{error}"
    if not (version and source):
        lost = ".copier-answers.yml does not say which template and version this project was made from"
        return False, f"template: {lost}", "git log -- .copier-answers.yml; git checkout COMMIT -- .copier-answers.yml"
    try:
        release, _ = template_tool.newest(source, timeout=5)
    except (OSError, LookupError, ValueError, subprocess.SubprocessError) as error:
        said = addresses.scrubbed(f"{getattr(error, 'stderr', '') or error}", source)
        return True, f"template: {version}; whether there is a newer one cannot be asked: {said}", ""
    # A commit's hash may be all digits, and is no version.
    ours = re.sub(r"-\d+-g[0-9a-f]+$", "", version) if "." in version else ""
    newer = template_tool.order(release) > template_tool.order(ours)
    return True, f"template: {version}{f', and {release} is out: just template-update' * newer}", ""


def main() -> int:
    """Print every finding; 3 if anything is to be mended.

    Before `just setup` this runs in whatever Python the machine has, after it in .venv.
    """
    ill = 0
    inside = VENV_PYTHON.exists() and Path(sys.prefix).samefile(VENV_PYTHON.parents[1])
    unused = [name for name in shell.withheld() if re.match("UV_|PYTHON(?!PATH)", name) and os.environ[name]]
    if unused:
        print(f"{terminal.word('ok', sys.stdout)}   shell: not used here: {', '.join(unused)}", flush=True)
    if inside:
        shell.enter()
    for part in (machine, version_control, environment, *([project] if inside else [])):
        before = ill
        for well, what, fix in part():
            mark = terminal.word("ok", sys.stdout) + "  " if well else terminal.word("FAIL", sys.stdout)
            print(mark, " ".join(what.split()), flush=True)
            if not well:
                ill += 1
                print(f"     {terminal.word('fix', sys.stdout)}: " + fix.replace("\n", "\n          "))
        if part is environment and ill > before:
            break  # what needs the packages cannot be looked at
    print(f"{PACKAGE}: " + ("all well." if not ill else f"{ill} to mend."))
    return FAILED if ill else 0


if __name__ == "__main__":
    command_line(main)
