"""What builds an image: buildah, BuildKit or Docker's legacy builder, each told to leave out clocks if it can."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import ProjectError
from ..common.scratch import temporary_folder
from ..common.uv import cache
from . import legacy, package_index
from .context import EPOCH
from .engine import Engine, refusal

#: From here on BuildKit can give every file of an image one time.
REWRITES = (0, 13)
#: The first Docker with such a BuildKit in it.
REWRITING_DOCKER = 26
#: What builders say of a base that they cannot have.
UNREACHED = re.compile(
    r"(?i)pull access denied|manifest unknown|failed to resolve|unable to pull|initializing source|error pinging"
    r"|toomanyrequests|registry.*(dial tcp|timeout|no such host)|short-name"
)
#: What `stop` ends, and whether it was called.
_at_work: list[subprocess.Popen[str]] = []
_stopped = threading.Event()


@dataclass(frozen=True)
class Builder:
    """One builder of an engine.

    Parameters
    ----------
    name : str
        As records have it: "buildah 1.28.2", "BuildKit 0.13.1", "legacy builder 20.10.24".
    stable : bool
        Whether equal inputs give an equal image ID.
    command : tuple of str
        How it is called.
    options : tuple of str
        What makes it leave out clocks.
    variables : dict of str to str
        What it is told by the environment.
    """

    name: str
    stable: bool
    command: tuple[str, ...]
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    def build(
        self,
        engine: Engine,
        context: Path,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        cached: bool = True,
        layers: Path | None = None,
    ) -> tuple[str, str]:
        """Build the last stage, and give the image's ID, and what the engine knows it by: a name it has not got yet.

        Raises
        ------
        ProjectError
            With the fix for what it usually is, if it fails. Nothing half-built has a name either.
        """
        index = package_index.variables()
        secret = [] if self.variables else ["--secret", f"id=package_index,env={package_index.COMMANDS}"]
        named = [name for name in index if not (secret and name == package_index.COMMANDS)]
        with temporary_folder("build") as scratch:
            archive = scratch / "image.tar"
            told = [f"{name}={value}" for name, value in {**arguments, "SOURCE_DATE_EPOCH": str(EPOCH)}.items()]
            command = [
                *self.command,
                *(option.format(archive=archive) for option in self.options),
                *(part for pair in [*told, *named] for part in ("--build-arg", pair)),
                *secret,
                *(part for name, value in labels.items() for part in ("--label", f"{name}={value}")),
                *([] if cached else ["--no-cache"]),
                *(self._layers(layers) if layers else []),
                *(["--network", "host"] if package_index.is_on_loopback() else []),
                *("--iidfile", str(scratch / "id"), "--file", str(self._dockerfile(context))),
                str(context),
            ]
            foreign = self.command[0] != engine.program
            if foreign:
                _lend_base(self.command[0], arguments["BASE"], engine, scratch)
            _watched(command, os.environ | dict(self.variables) | package_index.environment(), engine)
            number = (scratch / "id").read_text("utf-8").strip()
            number = number if ":" in number else f"sha256:{number}"  # podman leaves it out
            if foreign:
                _ask(self.command[0], "push", "--quiet", number, f"docker-archive:{archive}")
            if not archive.exists():
                return number, number
            print(f"Handing it over to {engine}", file=sys.stderr)
            return number, engine.ask("load", "--quiet", "--input", str(archive)).rpartition(" ")[2]

    def _layers(self, folder: Path) -> list[str]:
        """Take the layers of earlier builds from a folder, and put those of this one there."""
        if not (self.stable and self.name.startswith("BuildKit")):
            raise ProjectError(
                f"{self.name} cannot keep layers in a folder.",
                "leave --layers out; or let Docker keep images in containerd's store, which BuildKit needs for it",
            )
        earlier = [f"--cache-from=type=local,src={folder}"] if (folder / "index.json").exists() else []
        return [*earlier, f"--cache-to=type=local,mode=max,dest={folder}"]

    def _dockerfile(self, context: Path) -> Path:
        """Give the Dockerfile, rewritten for the legacy builder.

        Of one from outside of the context, Docker would write a name of chance into the image's .dockerignore.
        """
        own = context / "Dockerfile"
        if not self.variables:
            return own
        part = context / "Dockerfile.part"  # which no image holds
        part.write_text(legacy.rewritten(own.read_text("utf-8")), "utf-8")
        return part


def stop() -> None:
    """End the builder that is at work in another thread, where nobody waits for the image any more."""
    _stopped.set()
    for process in _at_work:
        process.terminate()


def choose(engine: Engine) -> Builder:
    """Choose the builder of an engine: one by which equal inputs give an equal image, if there is any."""
    if engine.name == "podman":
        return _buildah(engine.program, engine.info["host"].get("buildahVersion", engine.version))
    buildkit = _buildkit(engine)
    if buildkit is not None and buildkit.stable:
        return buildkit
    if (program := shutil.which("buildah")) is not None:
        version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.split()[2:3]
        return _buildah(program, *version)
    if buildkit is not None:
        return buildkit
    name = f"legacy builder {engine.version}"
    return Builder(name, False, (engine.program, "build"), (), (("DOCKER_BUILDKIT", "0"),))


def _buildah(program: str, version: str) -> Builder:
    """Use buildah, by its own program or podman's, with uv's cache of this machine."""
    # Of the other, Docker's own, newer versions fill in the names of the container in which they built.
    options = ["--format", "oci", "--layers", "--timestamp", str(EPOCH)]
    if (warm := cache()) is not None:
        place = str(warm).replace("{", "{{").replace("}", "}}")
        options += ["--volume", f"{place}:/root/.cache/uv", "--security-opt", "label=disable"]
    return Builder(f"buildah {version}", True, (program, "build"), tuple(options))


def _buildkit(engine: Engine) -> Builder | None:
    """Use BuildKit through buildx; None where that is not installed."""
    command = [engine.program, "buildx", "inspect"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return None
    version = re.search(r"BuildKit(?: version)?:\s*v?((\d+)\.(\d+)\S*)", done.stdout, re.IGNORECASE)
    number = (int(version[2]), int(version[3])) if version else (0, 0)
    name = f"BuildKit {version[1]}" if version and number != (0, 0) else f"BuildKit of Docker {engine.version}"
    if re.search(r"Driver:\s*docker\s", done.stdout):
        # Docker's own, of which some builds do not know the version. Of images it rewrites those of containerd's store.
        newer = number >= REWRITES or (number == (0, 0) and int(engine.version.split(".")[0]) >= REWRITING_DOCKER)
        rewrites = newer and "containerd" in str(engine.info.get("DriverStatus"))
    else:
        rewrites = number >= REWRITES
    # Into a file: BuildKit does not rewrite what it unpacks itself.
    rewritten = "type=docker,dest={archive},rewrite-timestamp=true,compression=uncompressed"
    output = rewritten if rewrites else "type=docker"
    options = ("--provenance=false", "--progress=plain", "--output", output)
    return Builder(name, rewrites, (engine.program, "buildx", "build"), options)


def _watched(command: list[str], variables: Mapping[str, str], engine: Engine) -> None:
    """Run a builder to its end, with its progress shown, and turn its last words into an error."""
    last: deque[str] = deque(maxlen=60)
    if _stopped.is_set():
        raise KeyboardInterrupt
    process = subprocess.Popen(
        command,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,  # which buildah hands on to what it runs
    )
    _at_work.append(process)
    try:
        for line in process.stdout or ():
            last.append(line)
            print(f"  {line}", end="", file=sys.stderr, flush=True)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        _at_work.remove(process)
    if code:
        raise explained("".join(last), code, engine)


def explained(said: str, code: int, engine: Engine) -> ProjectError:
    """Make the error of a build that failed, from its last words, which stand above."""
    lower = said.lower()
    cause, fix = f"the image could not be built: the builder ended with {code} and says why above.", "just doctor"
    if "hash mismatch" in lower or "do not match the hashes" in lower:
        cause = "a package is not what the lock says: its hash differs. uv names it above."
        fix = "git diff constraints.txt      if the lock is at fault: just lock, and commit it"
    elif "no space left" in lower:
        cause = "the disk is full: the image could not be built."
        fix = f"{engine.name} system df\n{engine.name} system prune"
    elif UNREACHED.search(said):
        cause = "the base of the image cannot be pulled; the builder says why above."
        fix = "no network: just image, once it is back\nanother base, or one that is here: just image --base REF"
    elif "cannot connect" in lower or ("permission denied" in lower and "sock" in lower):
        return refusal(engine.name, said)
    return ProjectError(cause, fix)


def _lend_base(buildah: str, base: str, engine: Engine, scratch: Path) -> None:
    """Give buildah a base that only Docker has; what a registry has, it pulls."""
    if "@sha256:" not in base and engine.inspect(base) is not None:
        engine.ask("save", "--output", str(scratch / "base.tar"), base)
        _ask(buildah, "pull", "--quiet", f"docker-archive:{scratch / 'base.tar'}")


def _ask(buildah: str, *arguments: str) -> None:
    done = subprocess.run([buildah, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise refusal(f"buildah {arguments[0]}", done.stderr)
