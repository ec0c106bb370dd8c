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
            # Not in anybody's project, whose settings are not for this.
            _run(
                [uv, "venv", "--quiet", "--no-project", "--allow-existing", "--python", sys.executable, str(draft)],
                environment,
                draft,
            )
            sync = [uv, "pip", "sync", "--quiet", "--python", str(_python(draft)), "--require-hashes", str(LOCK)]
            _run(sync, environment, draft)
            shutil.rmtree(home, ignore_errors=True)  # of a Python that is gone
            with contextlib.suppress(OSError):  # another was here first
                draft.rename(home)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return _python(home)


def _python(prefix: Path) -> Path:
    return prefix / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str], environment: dict[str, str], folder: Path = HERE) -> str:
    """Run uv in a folder, and give what it printed."""
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    except OSError as error:
        raise SetupError(f"{command[0]} cannot be run: {error}.\nfix: pip install uv") from error
    except subprocess.CalledProcessError as error:
        raise SetupError(
            "the packages of copier-mlflow cannot be had as they are locked; uv says why above.\n"
            "fix: Try again when PyPI, or the index that uv is configured for, can be reached."
        ) from error


if __name__ == "__main__":  # by its path, as projects start it
    main()
