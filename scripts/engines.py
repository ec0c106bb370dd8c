"""Real container engines for the tests: made of Debian's packages, started, and ended whatever happens.

By hand: `python scripts/engines.py shell` opens a shell in which `docker`, `podman` and `buildah` work, and everything
is gone when it ends. `python scripts/engines.py clean` removes what is kept for the next time.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import select
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import debian
import keeper
from keeper import HOME, session, stop

BASE = "copier-mlflow-base:bookworm"
#: The user and the group of a person who may use Docker, and no more.
PERSON, DOCKERS = 4711, 4712
#: Docker keeps images in either of two ways: `containerd`'s, where BuildKit can set the times of files, or its own.
STORES = ("containerd", "classic")


@dataclass(frozen=True)
class Kit:
    """What engines are started from: made once for a machine, and kept."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def base(self) -> Path:
        """The base image, as an archive that each engine can load."""
        return self.folder / "base.tar"


@functools.cache
def kit() -> Kit:
    """Find what engines are started from, made if need be."""
    debian.require()
    keeper.require("--mount", "--pid")
    return Kit(debian.kept("kit", _make))


def _make(folder: Path) -> None:
    with ThreadPoolExecutor() as pool:
        extracted = pool.submit(debian.programs, folder)
        pool.submit(debian.base, folder / "base.tar", BASE).result()
        extracted.result()


@dataclass(frozen=True)
class Engine:
    """Something that runs until its owner ends."""

    folder: Path
    kit: Kit

    @property
    def environment(self) -> dict[str, str]:
        """What makes its programs those that are found, and speak to it."""
        return {"PATH": os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]]), "CONTAINER_BASE": BASE}

    def run(
        self, *command: str, check: bool = True, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in its environment; what it printed is in the failure's message."""
        return keeper.run(command, check, cwd, **self.environment | variables)


class Docker(Engine):
    """A running engine of Docker's, with BuildKit, buildx and compose."""

    @property
    def environment(self) -> dict[str, str]:
        """What makes `docker` on the PATH speak to it."""
        return super().environment | {
            "DOCKER_HOST": f"unix://{self.folder / 'docker.sock'}",
            "DOCKER_CONFIG": str(self.folder / "config"),
        }


class Podman(Engine):
    """Podman and buildah as root, with images of their own."""


class Registry(Engine):
    """A registry of images on loopback, without a password."""

    @property
    def address(self) -> str:
        return (self.folder / "address").read_text()


class Person(Engine):
    """Somebody who is not root: a member of the group `docker`, with podman and buildah of their own.

    The names of the person and the groups are known only in the mounts in which their commands run.
    """

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """What a login would set; Docker's engine is found by `Docker.environment`, all but its DOCKER_CONFIG."""
        return super().environment | {
            "HOME": str(self.home),
            "USER": "person",
            "XDG_RUNTIME_DIR": str(self.folder / "runtime"),
            "DOCKER_CONFIG": str(self.home / ".docker"),
        }

    def command(self, *command: str, cwd: Path | None = None) -> list[str]:
        """Say how root runs a command as the person, in a folder: with their rights, and nobody else's."""
        first = str(keeper.noted(self.folder / "first").pid)
        enter = ["nsenter", f"--target={first}", "--mount", "--pid", f"--wdns={cwd or self.home}"]
        return [*enter, "setpriv", f"--reuid={PERSON}", f"--regid={PERSON}", f"--groups={DOCKERS}", *command]

    def run(
        self, *command: str, check: bool = True, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the person."""
        return super().run(*self.command(*command, cwd=cwd), check=check, cwd=None, **variables)


def docker(owner: int, store: str = "containerd") -> Docker:
    """Give the engine of an owner, started if need be, with the base image in it.

    Parameters
    ----------
    owner : int
        The process with which the engine ends.
    store : str
        How it keeps images, one of `STORES`.
    """
    return Docker(_started(owner, f"docker-{store}"), kit())


def podman(owner: int) -> Podman:
    """Give podman and buildah of root with the base image; what the registry of the owner has can be pulled."""
    registry(owner)
    return Podman(_started(owner, "podman"), kit())


def person(owner: int) -> Person:
    """Give a person with podman and buildah of their own, and the base image in them."""
    registry(owner)
    return Person(_started(owner, "person"), kit())


def registry(owner: int) -> Registry:
    """Give a registry on loopback."""
    return Registry(_started(owner, "registry"), kit())


def _started(owner: int, name: str) -> Path:
    kit()
    folder = session(owner) / name
    keeper.serve(folder, owner, Path(__file__), name)
    return folder


def start(folder: Path, name: str) -> int:
    """Start an engine by its name; gives what becomes readable when it ends."""
    (folder / "bin").mkdir()
    what, _, how = name.partition("-")
    if what == "docker":
        return _start_docker(folder, how)
    return _start_registry(folder) if what == "registry" else _start_podman(folder, rootless=what == "person")


def _start_docker(folder: Path, store: str) -> int:
    (folder / "bin" / "docker").symlink_to(kit().bin / "docker")
    _plugins(folder / "config")
    settings = {"features": {"containerd-snapshotter": store == "containerd"}, "iptables": False, "ip6tables": False}
    (folder / "daemon.json").write_text(json.dumps(settings))
    number = keeper.connect(folder, kit().bin / "iptables")
    first = keeper.isolated(
        folder,
        *(str(kit().bin / "dockerd"), f"--config-file={folder / 'daemon.json'}", f"--data-root={folder / 'data'}"),
        *(f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}", f"--host=unix://{folder / 'docker.sock'}"),
        *(f"--bridge=engines{number}", f"--default-address-pool=base=10.{number}.128.0/17,size=24"),
        PATH=os.pathsep.join([str(kit().bin), os.environ["PATH"]]),
    )
    engine = Docker(folder, kit())
    _wait(first, lambda: engine.run("docker", "version", check=False).returncode == 0)
    os.chown(folder / "docker.sock", 0, DOCKERS)
    engine.run("docker", "load", "--input", str(kit().base))
    return first


def _plugins(folder: Path) -> None:
    (folder / "cli-plugins").mkdir(parents=True)
    (folder / "config.json").write_text("{}")  # without it buildah refuses to look for credentials
    for name in ("docker-buildx", "docker-compose"):
        (folder / "cli-plugins" / name).symlink_to(kit().bin / name)


def _start_registry(folder: Path) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "address").write_text(address)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    first = keeper.isolated(folder, str(kit().bin / "docker-registry"), "serve", str(folder / "config.json"))

    def answers() -> bool:
        with socket.socket() as client:
            host, port = address.split(":")
            return client.connect_ex((host, int(port))) == 0

    _wait(first, answers)
    return first


#: The mounts in which podman runs: names and settings of its own in /etc; cgroups of the one kind that it knows; a
#: device that a person may open. A person's Python may lie in root's home, which all may then pass through.
PODMAN = """
set -e
mount --make-rshared /
mount -t overlay -o lowerdir={folder}/etc:/etc engines /etc
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 engines /sys/fs/cgroup
if [ -e /dev/net/tun ]; then mount --bind {folder}/tun /dev/net/tun; fi
if {rootless}; then mount -t overlay -o lowerdir={folder}/open:/root engines /root; fi
exec {bin}/docker-init -- sleep infinity
"""
CONTAINERS = """
[containers]
pids_limit = 0
default_ulimits = [{limits}]
[engine]
helper_binaries_dir = ["{bin}"]
conmon_path = ["{bin}/conmon"]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
crun = ["{bin}/crun"]
[network]
network_backend = "netavark"
firewall_driver = "iptables"
default_subnet = "10.{number}.64.0/24"
"""


def _start_podman(folder: Path, rootless: bool) -> int:
    made = kit()
    etc = folder / "etc"
    shutil.copytree(made.folder / "root/etc/containers", etc / "containers")
    names = {
        "passwd": f"person:x:{PERSON}:{PERSON}::{folder / 'home'}:/bin/sh\n",
        "group": f"person:x:{PERSON}:\ndockers:x:{DOCKERS}:person\n",
        "subuid": "person:500000:65536\n",
        "subgid": "person:500000:65536\n",
    }
    for name, line in names.items():
        former = Path("/etc", name)
        (etc / name).write_text((former.read_text() if former.exists() else "") + line)
    # No more than this machine lets root have: podman asks for a million open files.
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1] for name in ("nofile", "nproc")}
    shown = ", ".join(f'"{name}={limit}:{limit}"' for name, limit in limits.items())
    # Beside the networks of whatever other podman is or was here.
    number = keeper.connect(folder, made.bin / "iptables")
    (etc / "containers/containers.conf").write_text(CONTAINERS.format(bin=made.bin, limits=shown, number=number))
    storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/data"\nrunroot = "{folder}/run"\n'
    (etc / "containers/storage.conf").write_text(storage)
    address = (folder.parent / "registry" / "address").read_text()
    insecure = f'[[registry]]\nlocation = "{address}"\ninsecure = true\n'
    (etc / "containers/registries.conf.d/engines.conf").write_text(insecure)
    (folder / "open").mkdir()
    os.mknod(folder / "tun", 0o600 | stat.S_IFCHR, os.makedev(10, 200))
    (folder / "tun").chmod(0o666)
    script = PODMAN.format(folder=folder, bin=made.bin, rootless=str(rootless).lower())
    first = keeper.isolated(folder, "sh", "-c", script)
    noted = keeper.noted(folder / "first")
    _wait(first, lambda: Path(f"/proc/{noted.pid}/cmdline").read_bytes().startswith(os.fsencode(made.bin)))
    if rootless:
        _plugins(folder / "home" / ".docker")
        (folder / "runtime").mkdir(mode=0o700)
        for place in (folder / "home", *(folder / "home").rglob("*"), folder / "runtime"):
            os.chown(place, PERSON, PERSON, follow_symlinks=False)
        for name in ("docker", "podman", "buildah"):
            (folder / "bin" / name).symlink_to(made.bin / name)
        engine: Engine = Person(folder, made)
    else:
        for name in ("podman", "buildah"):
            enter = f'nsenter --target={noted.pid} --mount --pid --wdns="$PWD"'
            starter = f'#!/bin/sh\nPATH={made.bin}:$PATH exec {enter} {made.bin}/{name} "$@"\n'
            (folder / "bin" / name).write_text(starter)
            (folder / "bin" / name).chmod(0o755)
        engine = Podman(folder, made)
    engine.run("podman", "load", "--quiet", "--input", str(made.base))
    return first


def _wait(first: int, ready: Callable[[], bool]) -> None:
    """Wait until an engine is ready, or has ended."""
    while not ready():
        if select.select([first], [], [], 0.05)[0]:
            raise SystemExit(1)


def main() -> None:
    """Run by hand, or as the keeper of an engine."""
    if sys.argv[1:2] == ["serve"]:
        folder, owner, name = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
        keeper.keep(folder, owner, lambda: start(folder, name))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["shell", "clean"])
    parser.add_argument("--store", choices=STORES, default="containerd", help="how Docker keeps images")
    arguments = parser.parse_args()
    owner = os.getpid()
    if arguments.command == "clean":
        session(owner)
        shutil.rmtree(HOME)
        return
    try:
        variables = docker(owner, arguments.store).environment
        path = os.pathsep.join([str(podman(owner).folder / "bin"), variables["PATH"]])
        print(f"a registry is at {registry(owner).address}")
        subprocess.run([os.environ.get("SHELL", "/bin/sh")], env=os.environ | variables | {"PATH": path})
    finally:
        stop(owner)


if __name__ == "__main__":
    main()
