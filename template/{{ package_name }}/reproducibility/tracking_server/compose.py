"""Compose, of Docker or Podman: how the server's containers are started, asked and stopped."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from typing import Any

from ..common.errors import ProjectError
from ..containers import engine, package_index
from .settings import FOLDER


@functools.cache
def program() -> tuple[str, ...]:
    """Find compose: the engine's own, else the program beside it.

    Raises
    ------
    ProjectError
        If there is no engine, or no compose for it.
    """
    found = engine.find()
    beside = f"{found.name}-compose"
    for command in ((found.program, "compose"), *([(path,)] if (path := shutil.which(beside)) else [])):
        # `podman compose` is there without a compose to hand over to.
        if subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    package = "docker-compose-plugin, or Debian's docker-compose" if found.name == "docker" else "podman-compose"
    raise ProjectError(f"{found} has no compose.", f"Install it: {package}; or bind another engine: CONTAINER_ENGINE=…")


def build() -> None:
    """Build the server's image, with the shell's way to the package index; quietly if nobody looks."""
    run("build", "server", quiet=not sys.stderr.isatty(), **package_index.environment())


def run(*arguments: str, quiet: bool = False, **variables: str) -> None:
    """Do something whose output is for the person, on standard error.

    Raises
    ------
    ProjectError
        If it fails.
    """
    command = [*program(), *arguments]
    done = subprocess.run(
        command,
        cwd=FOLDER,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else sys.stderr,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        env=os.environ | variables,
    )
    if done.returncode:
        said = f": {done.stdout.strip()[-500:]}" if quiet else "; it says why above"
        raise ProjectError(f"compose {arguments[0]} failed{said}.", f"cd {FOLDER} && {' '.join(command)}")


def is_running(service: str) -> bool:
    """Tell whether a service's container runs."""
    done = subprocess.run(
        [*program(), "exec", "-T", service, "true"], cwd=FOLDER, capture_output=True, stdin=subprocess.DEVNULL
    )
    return done.returncode == 0


def start(service: str, *command: str, fresh: bool = False, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command in a service's container, or where that does not run in one of its own.

    Parameters
    ----------
    service : str
        "server" or "database".
    command : str
        What to run there.
    fresh : bool
        Whether it needs one of its own: that which runs may be of an earlier image.
    options : Any
        Of `subprocess.Popen`: where its input comes from and its output goes.
    """
    how = ("exec", "-T") if not fresh and is_running(service) else ("run", "--rm", "--no-deps", "-T")
    return subprocess.Popen([*program(), *how, service, *command], cwd=FOLDER, **options)


def ask(service: str, *command: str, given: str = "", fresh: bool = False) -> str:
    """Run a command in a service's container, with an input, and give what it prints.

    Raises
    ------
    ProjectError
        With what it says, if it fails.
    """
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = start(service, *command, fresh=fresh, **pipes)
    out, err = process.communicate(given.encode())
    require(process, service, err)
    return out.decode()


def require(process: subprocess.Popen[bytes], service: str, said: bytes) -> None:
    """Stop if what was started in a container failed.

    Raises
    ------
    ProjectError
        With the last lines of what it said.
    """
    if process.wait():
        last = "\n".join(said.decode(errors="replace").strip().splitlines()[-4:])
        raise ProjectError(
            f"the {service} refused: {last[-700:]}", f"cd {FOLDER} && {' '.join(program())} logs {service}"
        )


def psql(statement: str, database: str = "mlflow") -> str:
    """Ask the database itself, and give the answer's values, a row a line."""
    return ask(
        "database",
        *with_password(
            "psql",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "--set",
            "ON_ERROR_STOP=1",
            "--username",
            "mlflow",
            "--dbname",
            database,
        ),
        given=statement,
    ).strip()


def with_password(*command: str) -> tuple[str, ...]:
    """Give a command of the database's container its password, which stands in a file there."""
    return ("sh", "-c", 'PGPASSWORD=$(cat /run/secrets/database-password) exec "$@"', "sh", *command)
