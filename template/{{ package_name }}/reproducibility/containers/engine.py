"""The container engine: the one that is bound by CONTAINER_ENGINE or DOCKER_HOST, else the first that answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from ..common.errors import ProjectError

#: Those that people have, in the order in which they are tried.
KNOWN = ("docker", "podman")
#: Seconds that an engine may take to say what it is.
PATIENCE = 30
INSTALL = "Docker: https://docs.docker.com/engine/install      Podman: https://podman.io/docs/installation"


@dataclass(frozen=True)
class Engine:
    """A container engine that answers.

    Parameters
    ----------
    name : str
        "docker" or "podman", whatever its program is called.
    program : str
        The path of its program.
    version : str
        Of the engine, not of its client.
    rootless : bool
        Whether root in a container is the person who started it.
    info : dict
        What it says of itself.
    """

    name: str
    program: str
    version: str
    rootless: bool
    info: dict[str, Any]

    def __str__(self) -> str:
        """Name it as records do."""
        return f"{self.name} {self.version}"

    def ask(self, *arguments: str) -> str:
        """Run a command of it, and give what it prints.

        Raises
        ------
        ProjectError
            With the engine's own message, if it fails.
        """
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise refusal(f"{self.name} {' '.join(arguments[:2])}", done.stderr)
        return done.stdout.strip()

    def inspect(self, image: str) -> dict[str, Any] | None:
        """Give what the engine knows of an image; None if it has not got it."""
        command = [self.program, "image", "inspect", image]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout)[0]
            return found
        if "no such image" in done.stderr.lower() or "not known" in done.stderr or "failed to find" in done.stderr:
            return None
        raise refusal(f"{self.name} image inspect {image}", done.stderr)


def find() -> Engine:
    """Find the engine.

    Raises
    ------
    ProjectError
        If none answers; or the one that is bound does not, and then no other is tried.
    """
    variable = next((name for name in ("CONTAINER_ENGINE", "DOCKER_HOST") if os.environ.get(name)), "")
    bound = os.environ["CONTAINER_ENGINE"] if variable == "CONTAINER_ENGINE" else "docker"
    refused: list[ProjectError] = []
    for program in [bound] if variable else KNOWN:
        try:
            return _ask(program)
        except ProjectError as error:
            refused.append(error)
    if variable:
        value = f"{variable}={os.environ[variable]}"
        fix = f"{refused[0].fix}\nor unset {variable}: then whatever answers is taken."
        raise ProjectError(f"{value} binds the container engine, and it cannot be used: {refused[0].cause}", fix)
    there = [error for error in refused if error.fix != INSTALL]
    if not there:
        raise ProjectError("there is no container engine: neither docker nor podman is on the PATH.", INSTALL)
    raise ProjectError("\n".join(error.cause for error in there), there[0].fix)


def _ask(program: str) -> Engine:
    """Ask an engine what it is, whatever its program is called: `docker` may be podman's."""
    path = shutil.which(program)
    if path is None:
        raise ProjectError(f"{program} is not on the PATH.", INSTALL)
    try:
        command = [path, "info", "--format", "{{json .}}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        info: dict[str, Any] = json.loads(done.stdout or "{}")
    except subprocess.TimeoutExpired as error:
        raise ProjectError(f"{program} does not answer within {PATIENCE} s.", f"{program} info") from error
    except ValueError:
        info = {}
    if "host" in info:
        security = info["host"].get("security", {})
        return Engine("podman", path, info["version"]["Version"], bool(security.get("rootless")), info)
    if info.get("ServerVersion"):
        rootless = any("rootless" in option for option in info.get("SecurityOptions") or [])
        return Engine("docker", path, info["ServerVersion"], rootless, info)
    raise refusal(program, "\n".join(info.get("ServerErrors") or [done.stderr]))


def refusal(what: str, said: str) -> ProjectError:
    """Make the error of an engine that refused, with the fix for what it usually is."""
    said = "\n".join(line for line in said.strip().splitlines() if line.strip())
    lower = said.lower()
    fix = f"{what.split(' ')[0]} info      says whether the engine works at all."
    if "permission denied" in lower and "sock" in lower:
        fix = 'sudo usermod -aG docker "$USER"      then log in again; or use podman, which needs no group'
    elif "cannot connect" in lower or "is the docker daemon running" in lower or "connection refused" in lower:
        fix = "sudo systemctl start docker      or start Docker Desktop"
    elif "no space left" in lower:
        fix = "docker system df      and: docker system prune".replace("docker", what.split(" ")[0])
    elif "unauthorized" in lower or "denied" in lower or "authentication required" in lower:
        fix = f"{what.split(' ')[0]} login REGISTRY"
    return ProjectError(f"{what}: {said or 'no answer'}", fix)
