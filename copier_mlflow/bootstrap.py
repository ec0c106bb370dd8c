"""The console script: makes the environment that this package's lock names, and starts the commands in it.

Standard library only: what installs this package (`uvx` for one) checks no hash of a dependency, so it has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "constraints.txt"
#: Of the shell, what would make uv install elsewhere, or something else than the lock says.
MISLEADING = {
    *("UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT"),
    *("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_EXCLUDE_NEWER", "UV_NO_VERIFY_HASHES", "UV_REQUIRE_HASHES"),
    *("UV_NO_BINARY", "UV_NO_BINARY_PACKAGE", "UV_VENV_SEED", "UV_VENV_CLEAR", "UV_WORKING_DIR", "VIRTUAL_ENV"),
    *("UV_WORKING_DIRECTORY", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH"),
}


class SetupError(Exception):
    """Why the environment cannot be made, and what to do about it."""


def main() -> None:
    """Run the commands in an environment of their own. Does not return."""
    try:
        python = ready()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    # Isolated: nothing of the shell or of the folder is imported.
    command = [str(python), "-I", str(HERE / "__main__.py"), *sys.argv[1:]]
    if os.name == "posix":
        os.execv(python, command)
    sys.exit(subprocess.run(command).returncode)


def ready() -> Path:
    """Give the interpreter of the environment, which is made where it is not there yet.

    Raises
    ------
    SetupError
        If there is no uv, or it cannot install what is locked.
    """
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise SetupError("uv is not on the PATH.\nfix: pip install uv")
    environment = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    cache = Path(_run([uv, "cache", "dir"], environment).strip())
    key = hashlib.sha256(LOCK.read_bytes() + f"{sys.version}{sys.base_prefix}".encode()).hexdigest()[:16]
    home = cache / "copier-mlflow" / key
    if not _python(home).exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=home.parent))
        try:
            python = str(_python(draft))
            _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(draft)], environment)
            _run([uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(LOCK)], environment)
            _settle(draft, home)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return _python(home)


def _settle(draft: Path, home: Path) -> None:
    """Put an environment in its place, if another process was not there first."""
    with contextlib.suppress(OSError):
        draft.rename(home)
    if not _python(home).exists():  # of a Python that is gone
        shutil.rmtree(home)
        draft.rename(home)


def _python(prefix: Path) -> Path:
    return prefix / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str], environment: dict[str, str]) -> str:
    """Run uv, in nobody's project, whose settings would count; give what it printed."""
    try:
        done = subprocess.run(command, cwd=HERE.anchor, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout
    except OSError as error:
        raise SetupError(f"{command[0]} cannot be run: {error}.\nfix: pip install uv") from error
    except subprocess.CalledProcessError as error:
        raise SetupError(
            "the packages of copier-mlflow cannot be had as they are locked; uv says why above.\n"
            "fix: Try again when PyPI, or the index that uv is configured for, can be reached."
        ) from error


if __name__ == "__main__":  # by its path, as projects start it
    main()
