"""Keep what tests start: each engine by a process of its own, which ends it when its owner is gone, killed or not.

The engine itself is in namespaces of processes and mounts: when its first process ends, the kernel ends the others,
and when its keeper ends, the kernel ends that one. What could be left, an address and a folder, is cleared by who comes
next; so are named networks, with every process in them, that nobody ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HOME = Path(tempfile.gettempdir()) / "copier-mlflow-engines"
#: Where `ip netns` names networks.
NETWORKS = Path("/run/netns")


class Unavailable(Exception):
    """Nothing can be started here; says why."""


def require(*namespaces: str) -> None:
    """Make sure that `unshare` makes such namespaces here, and that there is a folder for engines."""
    if sys.platform != "linux" or os.geteuid():
        raise Unavailable("engines are started by root, on Linux")
    if not shutil.which("unshare") or _run("unshare", *namespaces, "--fork", "true"):
        raise Unavailable(f"this machine lets nobody `unshare {' '.join(namespaces)}`")
    HOME.mkdir(mode=0o755, exist_ok=True)
    if HOME.stat().st_uid:
        raise Unavailable(f"{HOME} belongs to somebody else")


def run(
    command: Sequence[str], check: bool = True, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it printed is in the failure's message."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert not check or done.returncode == 0, f"{' '.join(command)} gave {done.returncode}:\n{done.stdout}"
    return done


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


def folder_of(owner: int) -> Path:
    """Say where the engines of an owner lie."""
    process = Process.of(owner)
    assert process, f"there is no process {owner}"
    return HOME / f"session-{owner}-{process.began}"


def session(owner: int) -> Path:
    """Make the folder of an owner's engines; what owners left who are gone is cleared."""
    folder = folder_of(owner)
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


def serve(folder: Path, owner: int, program: Path, *what: str) -> None:
    """Start the process that keeps an engine, unless it is there: the program with `serve`, which calls `keep`."""
    with locked(folder.parent / "lock"):
        if (folder / "ready").exists():
            return
        folder.mkdir()
        command = [sys.executable, str(program), "serve", str(folder), str(owner), *what]
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
    folder = folder_of(owner)
    if folder.exists():
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


def keep(folder: Path, owner: int, start: Callable[[], int]) -> None:
    """Start an engine, wait until its owner ends or asks for it, and end it.

    Parameters
    ----------
    start : Callable[[], int]
        Starts it, and gives back, once it can be used, what becomes readable when it ends: what `isolated` gave for
        its first process.
    """
    note(folder / "keeper", os.getpid())
    watched = os.pidfd_open(owner)
    told_to_end, wake = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake, b"."))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        first = start()
        (folder / "ready").touch()
        select.select([watched, told_to_end, first], [], [])
    finally:
        with contextlib.suppress(FileNotFoundError):
            noted(folder / "first").end()
        disconnect(folder)
        if (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)


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
    free = (number for number in range(201, 256) if f" 10.{number}." not in taken)
    # Whoever makes the bridge has the number.
    number = next(number for number in free if _run("ip", "link", "add", f"engines{number}", "type", "bridge") == 0)
    (folder / "network").write_text(json.dumps([number, str(iptables)]))
    subprocess.run(["ip", "address", "add", f"10.{number}.0.1/24", "dev", f"engines{number}"], check=True)
    subprocess.run(["ip", "link", "set", f"engines{number}", "up"], check=True)
    for table, chain, *rule in rules(number):
        subprocess.run([str(iptables), "--wait", "-t", table, "-I", chain, *rule], check=True)
    return number


def disconnect(folder: Path) -> None:
    """Take it away again, whatever of it is there; and the bridges of other networks that the engine has made."""
    with contextlib.suppress(FileNotFoundError):
        number, iptables = json.loads((folder / "network").read_text())
        _run("ip", "link", "delete", f"engines{number}")
        listed = subprocess.run(["ip", "-json", "address"], capture_output=True, text=True).stdout
        for link in json.loads(listed or "[]"):
            if any(address["local"].startswith(f"10.{number}.") for address in link["addr_info"]):
                _run("ip", "link", "delete", link["ifname"])
        for table, chain, *rule in rules(number):
            _run(iptables, "--wait", "-t", table, "-D", chain, *rule)
    for made in NETWORKS.glob(network(folder, "*")):
        kill(made.name)
        _run("ip", "netns", "delete", made.name)


def network(folder: Path, name: str) -> str:
    """Name a network of an engine's, for `ip netns`."""
    return f"{folder.parent.name}-{folder.name}-{name}"


def processes(network: str) -> list[int]:
    """List what lives in a network."""
    return [int(pid) for pid in run(["ip", "netns", "pids", network]).stdout.split()]


def kill(network: str) -> None:
    """Kill every process in a network, and wait until none lives."""
    while pids := processes(network):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _run(*command: str) -> int:
    return subprocess.run(command, capture_output=True).returncode


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
