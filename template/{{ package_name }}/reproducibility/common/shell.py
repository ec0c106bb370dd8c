"""Which environment variables of the shell reach the programs that are started here. Standard library only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from . import parent, restart

#: Of the variables of uv, pip and Python, those that reach them. Of uv's: the way to packages and to interpreters, and
#: how it works. What is installed, and where, is for the locks, pyproject.toml ([tool.uv]) and the command itself. Of
#: pip's, which a build may call: the way to packages. Of Python's: how it speaks and dies; the others change what is
#: imported, compiled or computed. (The hash seed is for the launch environment. With an underscore, a name that is not
#: one of Python's own belongs to someone else.)
REACHES = re.compile(
    r"""
    UV_ (ASTRAL_MIRROR_URL | AZURE_ENDPOINT_URL | CACHE_DIR | COMPILE_BYTECODE | COMPILE_BYTECODE_TIMEOUT
        | CONCURRENT_BUILDS | CONCURRENT_DOWNLOADS | CONCURRENT_INSTALLS | CREDENTIALS_DIR | DEFAULT_INDEX
        | EXTRA_INDEX_URL | FIND_LINKS | GCS_ENDPOINT_URL | HTTP_CONNECT_TIMEOUT | HTTP_RETRIES | HTTP_TIMEOUT
        | INDEX | INDEX_STRATEGY | INDEX_URL | INDEX_\w+_(USERNAME|PASSWORD) | INSECURE_HOST | KEYRING_PROVIDER
        | LINK_MODE | LOCK_TIMEOUT | MANAGED_PYTHON | NATIVE_TLS | NO_CACHE | NO_MANAGED_PYTHON | NO_PROGRESS
        | NO_SYSTEM_CONFIG | NO_WRAP | OFFLINE | PYTHON_CACHE_DIR | PYTHON_DOWNLOADS | PYTHON_DOWNLOADS_JSON_URL
        | PYTHON_INSTALL_DIR | PYTHON_INSTALL_MIRROR | PYTHON_PREFERENCE | PYTHON_SEARCH_PATH | REQUEST_TIMEOUT
        | S3_ENDPOINT_URL | SYSTEM_CERTS)
    | PIP_ (CACHE_DIR | CERT | CLIENT_CERT | DEFAULT_TIMEOUT | DISABLE_PIP_VERSION_CHECK | EXTRA_INDEX_URL | FIND_LINKS
        | INDEX_URL | NO_INPUT | PROXY | RETRIES | TRUSTED_HOST)
    | PYTHON (ASYNCIODEBUG | BREAKPOINT | FAULTHANDLER | HASHSEED | IOENCODING | LEGACYWINDOWSSTDIO | UNBUFFERED | UTF8)
    | PYTHON_ (?! (CONTEXT_AWARE_WARNINGS | CPU_COUNT | FROZEN_MODULES | GIL | JIT | LAZY_IMPORTS | PERF_JIT_SUPPORT
        | PRESITE | THREAD_INHERIT_CONTEXT | TLBC | UOPS_OPTIMIZE) $) \w+
    """,
    re.VERBOSE,
)
#: Of another environment that is active in the shell: uv would install there.
ENVIRONMENTS = {"VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "__PYVENV_LAUNCHER__"}


def reaches(name: str) -> bool:
    """Tell whether an environment variable reaches the programs that are started here."""
    if name.startswith(("UV_", "PIP_", "PYTHON")):
        return REACHES.fullmatch(name) is not None
    return name not in ENVIRONMENTS


def child(*foreign: str) -> dict[str, str]:
    """Give the environment variables for a program that is started here, without names that begin with `foreign`."""
    return {name: value for name, value in os.environ.items() if reaches(name) and not name.startswith(foreign)}


def run(
    command: list[str],
    folder: Path,
    variables: dict[str, str],
    output: IO[Any] | int | None,
    umask: int = -1,
    errors: int | None = None,
) -> int:
    """Run a command to its end, with these environment variables alone, and give its exit code.

    It is ended if this process is interrupted meanwhile, and ends itself if it is a training and this process is gone.
    """
    process = subprocess.Popen(
        command, cwd=folder, env=variables | parent.told(), stdout=output, stderr=errors, umask=umask
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def enter() -> None:
    """Forget what must not reach this process; start it again if its interpreter has read some of it already.

    PYTHONPATH stays until the path is looked at: what it adds is refused there, by name.
    """
    values = {name: os.environ.pop(name) for name in withheld() if name != "PYTHONPATH"}
    was_read = any(value for name, value in values.items() if name.startswith("PYTHON"))
    restarted = "shell" in restart.REASONS
    if was_read and not restarted and not sys.flags.ignore_environment and sys.gettrace() is None:
        restart.restart("shell")


def withheld() -> list[str]:
    """List the variables of this process that reach nothing that is started here."""
    return sorted(name for name in os.environ if not reaches(name))
