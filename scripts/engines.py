"""Real container engines for the tests: made of Debian's packages, started, and ended whatever happens.

By hand: `python scripts/engines.py shell` opens a shell in which `docker`, `podman` and `buildah` work, and everything
is gone when it ends. `python scripts/engines.py clean` removes what is kept for the next time.

An engine is kept by a process of its own, which ends it when its owner (the test session) is gone, killed or not. The
engine itself is in namespaces of processes and mounts: when its first process ends, the kernel ends the others. What
could be left, an address and a folder, is cleared by the next session.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import debian

HOME = Path(tempfile.gettempdir()) / "copier-mlflow-engines"
BASE = "copier-mlflow-base:bookworm"
#: The user and the group of a person who may use Docker, and no more.
PERSON, DOCKERS = 4711, 4712
#: Docker keeps images in either of two ways: `containerd`'s, where BuildKit can set the times of files, or its own.
STORES = ("containerd", "classic")


class Unavailable(Exception):
    """Nothing can be started here; says why."""


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


def kit() -> Kit:
    """Find what engines are started from, made if need be."""
    if sys.platform != "linux" or os.geteuid():
        raise Unavailable("engines are started by root, on Linux")
    if not (shutil.which("mmdebstrap") or shutil.which("apt-get")):
        raise Unavailable("engines are made of Debian's packages, by mmdebstrap")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
        raise Unavailable("this machine lets nobody mount")
    HOME.mkdir(mode=0o755, exist_ok=True)
    if HOME.stat().st_uid:
        raise Unavailable(f"{HOME} belongs to somebody else")
    recipe = Path(debian.__file__).read_bytes() + debian.BUNDLE.read_bytes()
    folder = HOME / f"kit-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with locked(HOME / "lock"):
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                with ThreadPoolExecutor() as pool:
                    for work in [
                        pool.submit(debian.programs, folder),
                        pool.submit(debian.base, folder / "base.tar", BASE),
                    ]:
                        work.result()
            except OSError as error:
                raise Unavailable(f"no packages of Debian: {error}") from error
            (folder / "made").touch()
    return Kit(folder)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let one process at a time do it."""
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Process:
    """A process, told from a later one of the same number by when it began."""

    pid: int
    began: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        try:
            return cls(pid, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        except OSError:
            return None

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def end(self, patience: float = 30) -> None:
        """Ask it to end, and make it end."""
        with contextlib.suppress(ProcessLookupError):
            opened = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(opened, signal.SIGTERM)
                    if not select.select([opened], [], [], patience)[0]:
                        signal.pidfd_send_signal(opened, signal.SIGKILL)
                        select.select([opened], [], [], patience)
            finally:
                os.close(opened)


@dataclass(frozen=True)
class Docker:
    """A running engine of Docker's, with BuildKit, buildx and compose."""

    folder: Path
    kit: Kit
    store: str

    @property
    def environment(self) -> dict[str, str]:
        """What makes `docker` on the PATH speak to it."""
        return {
            "PATH": os.pathsep.join([str(self.kit.bin), os.environ["PATH"]]),
            "DOCKER_HOST": f"unix://{self.folder / 'docker.sock'}",
            "DOCKER_CONFIG": str(self.folder / "config"),
            "CONTAINER_BASE": BASE,
        }

    def __call__(self, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `docker`, and give what it printed."""
        return told(["docker", *arguments], self.environment | variables, check=check)


def told(command: list[str], variables: Mapping[str, str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=os.environ | variables, stdin=subprocess.DEVNULL, stdout=-1, stderr=-2, text=True
    )
    assert not check or done.returncode == 0, f"{' '.join(command)} gave {done.returncode}:\n{done.stdout}"
    return done


def docker(owner: int, store: str = "containerd") -> Docker:
    """Give the engine of an owner, started if need be, with the base image in it.

    Parameters
    ----------
    owner : int
        The process with which the engine ends.
    store : str
        How it keeps images, one of `STORES`.
    """
    made = kit()
    folder = session(owner) / f"docker-{store}"
    engine = Docker(folder, made, store)
    serve(folder, owner, "docker", store)
    return engine


def session(owner: int) -> Path:
    """Find the folder of an owner's engines; what owners left who are gone is cleared."""
    process = Process.of(owner)
    assert process, f"there is no process {owner}"
    folder = HOME / f"session-{owner}-{process.began}"
    with locked(HOME / "lock"):
        for other in HOME.glob("session-*"):
            _, pid, began = other.name.split("-")
            if not Process(int(pid), began).alive:
                for engine in other.iterdir():
                    if engine.is_dir():
                        clear(engine)
                shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    return folder


def serve(folder: Path, owner: int, *what: str) -> None:
    """Start the process that keeps an engine, unless it is there."""
    with locked(folder.parent / "lock"):
        if (folder / "ready").exists():
            return
        folder.mkdir()
        command = [sys.executable, __file__, "serve", str(folder), str(owner), *what]
        log = folder / "log"
        with log.open("w") as opened:
            keeper = subprocess.Popen(command, stdin=-3, stdout=opened, stderr=-2, start_new_session=True)
        while not (folder / "ready").exists():
            if keeper.poll() is not None:
                said = log.read_text()
                clear(folder)
                raise Unavailable(f"{what[0]} does not start here: {said[-1500:]}")
            time.sleep(0.05)


def stop(owner: int) -> None:
    """End all engines of an owner, and wait for it."""
    if HOME.exists():
        folder = session(owner)
        for engine in folder.iterdir():
            if engine.is_dir():
                clear(engine)
        shutil.rmtree(folder)


def clear(folder: Path) -> None:
    """End an engine's processes in their order, and take back what it made outside of its namespaces."""
    for name in ("keeper", "first"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            noted(folder / name).end()
    disconnect(folder)
    shutil.rmtree(folder, ignore_errors=True)


def keep(folder: Path, owner: int, kind: str, *options: str) -> None:
    """Start an engine, wait until its owner ends or asks for it, and end it."""
    note(folder / "keeper", os.getpid())
    watched = os.pidfd_open(owner)
    told_to_end, wake = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake, b"."))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = {"docker": start_docker}[kind](folder, kit(), *options)
    (folder / "ready").touch()
    try:
        select.select([watched, told_to_end, first], [], [])
    finally:
        noted(folder / "first").end()
        disconnect(folder)
        shutil.rmtree(folder, ignore_errors=True)


def start_docker(folder: Path, made: Kit, store: str) -> int:
    """Start Docker's daemon with the base image in it; gives what becomes readable when it ends."""
    plugins = folder / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    for name in ("docker-buildx", "docker-compose"):
        (plugins / name).symlink_to(made.bin / name)
    settings = {"features": {"containerd-snapshotter": store == "containerd"}, "iptables": False, "ip6tables": False}
    (folder / "daemon.json").write_text(json.dumps(settings))
    number = connect(folder, made.bin / "iptables")
    socket = folder / "docker.sock"
    first = isolated(
        folder,
        *(str(made.bin / "dockerd"), f"--config-file={folder / 'daemon.json'}", f"--data-root={folder / 'data'}"),
        *(f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}", f"--host=unix://{socket}"),
        *(f"--bridge=engines{number}", f"--default-address-pool=base=10.{number}.128.0/17,size=24"),
        PATH=os.pathsep.join([str(made.bin), os.environ["PATH"]]),
    )
    engine = Docker(folder, made, store)
    while engine("version", check=False).returncode:
        if select.select([first], [], [], 0.05)[0]:
            raise SystemExit(1)
    os.chown(socket, 0, DOCKERS)
    engine("load", "--input", str(made.base))
    return first


def isolated(folder: Path, *command: str, **variables: str) -> int:
    """Start a command as the first process of namespaces of processes and mounts; mounts of the machine are seen."""
    enter = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation=slave", "--mount-proc"]
    outer = subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", *enter, *command], env=os.environ | variables, stdin=subprocess.DEVNULL
    )
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while not (found := children.read_text().split()):
        if outer.poll() is not None:
            raise SystemExit(1)
        time.sleep(0.01)
    note(folder / "first", int(found[0]))
    return os.pidfd_open(int(found[0]))


def connect(folder: Path, iptables: Path) -> int:
    """Make a bridge whose containers reach the world, beside whatever other engine is here; gives its number."""
    taken = subprocess.run(["ip", "-brief", "address"], capture_output=True, text=True, check=True).stdout
    number = next(number for number in range(201, 256) if f" 10.{number}." not in taken)
    (folder / "network").write_text(json.dumps([number, str(iptables)]))
    subprocess.run(["ip", "link", "add", f"engines{number}", "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", f"10.{number}.0.1/24", "dev", f"engines{number}"], check=True)
    subprocess.run(["ip", "link", "set", f"engines{number}", "up"], check=True)
    for table, chain, *rule in rules(number):
        subprocess.run([str(iptables), "--wait", "-t", table, "-I", chain, *rule], check=True)
    return number


def disconnect(folder: Path) -> None:
    """Take it away again, whatever of it is there."""
    with contextlib.suppress(FileNotFoundError):
        number, iptables = json.loads((folder / "network").read_text())
        subprocess.run(["ip", "link", "delete", f"engines{number}"], capture_output=True)
        for table, chain, *rule in rules(number):
            subprocess.run([iptables, "--wait", "-t", table, "-D", chain, *rule], capture_output=True)


def rules(number: int) -> list[list[str]]:
    """List what must be allowed for the addresses of a bridge: table, chain, rule."""
    ours = f"10.{number}.0.0/16"
    return [
        ["nat", "POSTROUTING", "-s", ours, "!", "-d", ours, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-s", ours, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-d", ours, "-j", "ACCEPT"],
    ]


def note(file: Path, pid: int) -> None:
    """Write down a process that is to be ended."""
    process = Process.of(pid)
    assert process
    file.write_text(json.dumps([process.pid, process.began]))


def noted(file: Path) -> Process:
    """Read which process that was."""
    return Process(*json.loads(file.read_text()))


def main() -> None:
    """Run by hand, or as the keeper of an engine."""
    if sys.argv[1:2] == ["serve"]:
        keep(Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["shell", "clean"])
    parser.add_argument("--store", choices=STORES, default="containerd", help="how Docker keeps images")
    arguments = parser.parse_args()
    if arguments.command == "clean":
        session(os.getpid())
        shutil.rmtree(HOME)
        return
    engine = docker(os.getpid(), arguments.store)
    try:
        subprocess.run([os.environ.get("SHELL", "/bin/sh")], env=os.environ | engine.environment)
    finally:
        stop(os.getpid())


if __name__ == "__main__":
    main()
