"""The locks of a project, brought in step by the project's own code, as `just lock` does."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

from . import merge, template
from .errors import ProjectError
from .merge import File

LOCKS = ("constraints.txt", "constraints-build.txt", "constraints-dev.txt")
#: Those that a project need not have; they are compiled with the others where they are there.
MORE = ("constraints-cluster.txt", "tracking-server/constraints.txt")
#: Of the shell, what would lead uv elsewhere before the project's own code decides what reaches it, as in its justfile.
ELSEWHERE = {
    *("UV_CONFIG_FILE", "UV_ENV_FILE", "UV_NO_CONFIG", "UV_FROZEN", "UV_LOCKED", "UV_PROJECT"),
    *("UV_WORKING_DIR", "UV_WORKING_DIRECTORY"),
}
#: Runs a module of the project's, and ends with the process that holds the other end of its standard input: what
#: outlives a tool that was killed must not write into what the next command makes of the project.
PROGRAM = """
import os, runpy, sys, threading
threading.Thread(target=lambda: os.read(0, 1) or os._exit(3), daemon=True).start()
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def bring_in_step(project: Path, before: File | None) -> bool:
    """Compile the locks if pyproject.toml asks for something else than before, or one is missing.

    Parameters
    ----------
    project : Path
        The project's folder.
    before : File or None
        The pyproject.toml to which the locks belong.

    Returns
    -------
    bool
        False if the project's modules cannot even be imported, with markers in them for example.

    Raises
    ------
    ProjectError
        If the locks cannot be compiled.
    """
    now = merge.read(project, "pyproject.toml")
    if all((project / lock).exists() for lock in LOCKS) and (before is None or _asked(before) == _asked(now)):
        return True
    print("\njust lock", flush=True)
    code = _compile(project)
    if code not in {0, 1}:  # 1 comes from Python itself
        raise ProjectError("the locks cannot be compiled, so the project is as it was.", "See above.")
    return code == 0


def _asked(pyproject: File | None) -> object:
    """Give what decides about the locks; the whole file where it cannot be read."""
    try:
        content = tomllib.loads(pyproject.content.decode()) if pyproject else {}
        project, uv = content.get("project", {}), dict(content.get("tool", {}).get("uv", {}))
        uv.pop("build-backend", None)
        wanted = [project.get(key) for key in ("requires-python", "dependencies", "optional-dependencies")]
        return [*wanted, uv, *(content.get(key) for key in ("build-system", "dependency-groups"))]
    except (ValueError, AttributeError, TypeError):
        return pyproject


def _compile(project: Path) -> int:
    package = str(template.origin(project).answers["package_name"])
    # The deepest: one that stood higher was edited, and kept, and what it imports is elsewhere now.
    found = (project / package / "reproducibility").rglob("locks.py")
    module = max(found, key=lambda path: len(path.parts), default=None)
    if module is None:
        return 1
    name = ".".join(module.relative_to(project).with_suffix("").parts)
    conf = merge.read(project, "python_env.yaml")
    python = re.search(rb'(?m)^python: "([0-9.]+)"', conf.content) if conf else None
    command = ["uv", "run", "--quiet", "--no-project", "--isolated"]
    command += ["--python", python[1].decode()] if python else []
    variables = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    try:
        process = subprocess.Popen(
            [*command, "python", "-E", "-c", PROGRAM, name], cwd=project, env=variables, stdin=subprocess.PIPE
        )
    except OSError as error:
        raise ProjectError("uv is not on the PATH.", "pip install uv") from error
    try:
        return process.wait()
    finally:
        process.terminate()
        process.communicate()  # closes its standard input too
