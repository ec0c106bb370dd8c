"""Real clusters for the tests: hosts on a network of their own, Slurm on such hosts; ended whatever happens.

A host is a network namespace and a name: files, users and processes are those of the machine. The hosts of one network
see each other and nothing else.

By hand: `python scripts/clusters.py shell` opens a shell on the head of a Slurm cluster, in which `srun`, `sbatch` and
`squeue` work, and everything is gone when it ends. `python scripts/engines.py clean` removes what is kept for the next
time.
"""

from __future__ import annotations

import argparse
import functools
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import debian
import keeper
from keeper import Unavailable, session, stop

NODES = 2
#: What each node tells Slurm that it has, whatever the machine has.
CPUS, MEGABYTES = 2, 4000


@dataclass(frozen=True)
class Host:
    """A host of a network: what runs in it has its name and its address, and sees the other hosts.

    Attributes
    ----------
    name : str
        What `hostname` says in it, and what others find it by.
    address : str
        That of its interface `eth0`.
    network : str
        Its name for `ip netns`.
    names : Path
        What is /etc/hosts in it.
    """

    name: str
    address: str
    network: str
    names: Path

    def command(self, *command: str) -> list[str]:
        """Say how root runs a command in it: the process that is started becomes the command."""
        # Slurm waits for names that do not resolve. Of mounts, those that the machine makes later are seen, too.
        unshare = ["unshare", "--uts", "--mount", "--propagation=slave", "sh", "-c"]
        script = f'hostname "$0" && mount --bind {shlex.quote(str(self.names))} /etc/hosts && exec "$@"'
        # `ip netns exec` would mount another /sys, without cgroups.
        return ["nsenter", f"--net={keeper.NETWORKS / self.network}", *unshare, script, self.name, *command]

    def run(
        self, *command: str, check: bool = True, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it; what it printed is in the failure's message."""
        return keeper.run(self.command(*command), check, cwd, **variables)

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in it."""
        return subprocess.Popen(self.command(*command), text=True, **options)

    def processes(self) -> list[int]:
        """List what runs in it."""
        return keeper.processes(self.network)

    def kill(self) -> None:
        """Kill every process in it, as when a host dies: its peers are told by the kernel. It can be used again."""
        keeper.kill(self.network)

    def unplug(self) -> None:
        """Pull its cable: its processes run on, and its peers are told nothing."""
        keeper.run(["ip", "-netns", self.network, "link", "set", "eth0", "down"])

    def plug(self) -> None:
        """Put the cable back."""
        keeper.run(["ip", "-netns", self.network, "link", "set", "eth0", "up"])


def hosts(owner: int, count: int = 2) -> list[Host]:
    """Give so many hosts of an owner, `n0`, `n1` and so on, that see each other and nothing else.

    Parameters
    ----------
    owner : int
        The process with which they end.
    count : int
        How many; those of another count are others.
    """
    return _hosts(_started(owner, f"hosts{count}"), count)


def _hosts(folder: Path, count: int) -> list[Host]:
    names = folder / "names"
    return [Host(f"n{n}", f"10.0.0.{n + 1}", keeper.network(folder, f"n{n}"), names) for n in range(count)]


class Job(NamedTuple):
    """What Slurm says of a job: RUNNING or PENDING on which node, or why not."""

    number: int
    name: str
    state: str
    node: str
    reason: str


@dataclass(frozen=True)
class Slurm:
    """A running Slurm: `n0` is its head, `n1` and `n2` are its nodes.

    A node that was unplugged and is plugged again is back in service when Slurm asks next, within a minute.
    """

    folder: Path
    kit: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes its programs those that are found, and speak to it, on each of its hosts."""
        return {
            "PATH": os.pathsep.join([str(self.kit / "bin"), os.environ["PATH"]]),
            "SLURM_CONF": str(self.folder / "conf" / "slurm.conf"),
        }

    @property
    def head(self) -> Host:
        """Where jobs are submitted."""
        return _hosts(self.folder, 1)[0]

    @property
    def nodes(self) -> dict[str, Host]:
        """Where jobs run, by name."""
        return {host.name: host for host in _hosts(self.folder, 1 + NODES)[1:]}

    def run(
        self, *command: str, check: bool = True, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the head, in its environment."""
        return self.head.run(*command, check=check, cwd=cwd, **self.environment | variables)

    def jobs(self) -> list[Job]:
        """List what waits, runs and ends, in the order of submission."""
        told = self.run("squeue", "--noheader", "--sort=i", "--format=%A|%j|%T|%N|%r").stdout
        return [Job(int(number), *rest) for number, *rest in (line.split("|") for line in told.splitlines())]

    def states(self) -> dict[str, str]:
        """Say how the nodes are, by name: `idle`, `mixed`, `allocated`, `down`; with a star if one does not answer."""
        told = self.run("sinfo", "--noheader", "--Node", "--format=%N|%T").stdout
        return dict(line.split("|") for line in told.splitlines())

    @property
    def idle(self) -> bool:
        """Whether all nodes are in service, and nothing waits, runs or ends."""
        nodes = self.run("sinfo", "--noheader", "--format=%T", check=False)
        return nodes.stdout == "idle\n" and not self.jobs()

    def start_node(self, name: str) -> None:
        """Start the daemon of a node; it comes into service some seconds later."""
        command = ["slurmd", "-d", str(self.kit / "bin" / "slurmstepd")]
        keeper.run(self.nodes[name].command(*command), **self.environment)

    def kill_node(self, name: str) -> None:
        """Kill the daemon of a node, and all that runs there."""
        self.nodes[name].kill()

    @property
    def controller(self) -> int | None:
        """The process of its controller, unless it was killed."""
        process = int((self.folder / "slurmctld.pid").read_text())
        return process if process in self.head.processes() else None

    def kill_controller(self) -> None:
        """Kill its controller, when it has written down what runs: that runs on, and nobody is answered."""
        asked, jobs, written = time.time(), self.jobs(), self.folder / "state" / "job_state"
        # What is changed by hand it writes soon; that a job has begun, minutes later, and begins it again until then.
        for job in jobs:
            self.run("scontrol", "update", f"job={job.number}", "comment=noted")
        while jobs and written.stat().st_mtime < asked:
            time.sleep(0.05)
        while process := self.controller:
            os.kill(process, signal.SIGKILL)
            time.sleep(0.01)

    def start_controller(self) -> None:
        """Start its controller, which goes on with what it had written down."""
        keeper.run(self.head.command("slurmctld"), **self.environment)

    def reset(self) -> None:
        """End all jobs, bring all nodes back into service, and wait for it."""
        if not self.controller:
            self.start_controller()
        self.run("scancel", "--user=root")
        for name, node in self.nodes.items():
            node.plug()
            if not node.processes() or self.states()[name].endswith("*"):
                node.kill()
                self.start_node(name)
        while not self.idle:
            time.sleep(0.05)

    def stop(self) -> None:
        """End all of it, and wait for it."""
        keeper.clear(self.folder)


def slurm(owner: int) -> Slurm:
    """Give the Slurm of an owner, started if need be, with all of its nodes in service."""
    made = kit()
    return Slurm(_started(owner, "slurm"), made)


@functools.cache
def kit() -> Path:
    """Find what Slurm is started from, made if need be."""
    debian.require()
    keeper.require("--net", "--uts", "--mount")
    return debian.kept("slurm", debian.slurm)


def _started(owner: int, name: str) -> Path:
    keeper.require("--net", "--uts", "--mount")
    if not shutil.which("ip"):
        raise Unavailable("hosts are made by `ip`, of iproute2")
    folder = session(owner) / name
    keeper.serve(folder, owner, Path(__file__), name)
    return folder


def start(folder: Path, name: str) -> int:
    """Start hosts or Slurm by their name; gives what becomes readable when they end."""
    if name == "slurm":
        return _start_slurm(folder)
    _connect(folder, _hosts(folder, int(name.removeprefix("hosts"))))
    return os.pipe()[0]  # nothing of hosts ends by itself


def _connect(folder: Path, hosts: list[Host]) -> None:
    """Make hosts, each with a cable to a switch that is in a network of its own, too."""
    lines = ["127.0.0.1 localhost", *(f"{host.address} {host.name}" for host in hosts)]
    (folder / "names").write_text("\n".join(lines) + "\n")
    switch = keeper.network(folder, "switch")
    _ip("netns", "add", switch)
    _ip("-netns", switch, "link", "add", "name", "switch", "up", "type", "bridge")
    for host in hosts:
        _ip("netns", "add", host.network)
        cable = ["link", "add", "name", host.name, "up", "master", "switch", "type", "veth"]
        _ip("-netns", switch, *cable, "peer", "name", "eth0", "netns", host.network)
        _ip("-netns", host.network, "address", "add", f"{host.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-netns", host.network, "link", "set", link, "up")


def _ip(*arguments: str) -> None:
    keeper.run(["ip", *arguments])


#: One user, root; neither cgroups nor accounts. A node that does not answer is down after some fifteen seconds, and its
#: jobs begin elsewhere five seconds later, when their credentials are void: by default it takes minutes.
CONF = """
ClusterName=engines
SlurmctldHost={head.name}({head.address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
SlurmdTimeout=6
MessageTimeout=3
TCPTimeout=1
KillWait=5
PartitionName=all Nodes=ALL Default=YES
"""


def _start_slurm(folder: Path) -> int:
    made = Slurm(folder, kit())
    head, nodes = made.head, made.nodes
    _connect(folder, [head, *nodes.values()])
    for name in ("conf", "state"):
        (folder / name).mkdir()
    [plugins] = made.kit.glob("root/usr/lib/*-linux-gnu/slurm-wlm")
    conf = CONF.format(folder=folder, head=head, plugins=plugins)
    for node in nodes.values():
        conf += f"NodeName={node.name} NodeAddr={node.address} CPUs={CPUS} RealMemory={MEGABYTES}\n"
    (folder / "conf" / "slurm.conf").write_text(conf)
    (folder / "conf" / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    # By root, and in a folder that is open to others: by force.
    made.run("munged", "--force", f"--socket={folder}/munge.socket", *files)
    daemon = head.popen("slurmctld", "-D", env=os.environ | made.environment)
    for name in nodes:
        made.start_node(name)
    while not made.idle:
        if daemon.poll() is not None:
            raise SystemExit(1)
        time.sleep(0.05)
    return os.pipe()[0]  # a test may kill any of it


def main() -> None:
    """Run by hand, or as the keeper of hosts or of Slurm."""
    if sys.argv[1:2] == ["serve"]:
        folder, owner, name = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
        keeper.keep(folder, owner, lambda: start(folder, name))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["shell"])
    parser.parse_args()
    try:
        cluster = slurm(os.getpid())
        with cluster.head.popen(os.environ.get("SHELL", "/bin/sh"), env=os.environ | cluster.environment) as shell:
            shell.wait()
    finally:
        stop(os.getpid())


if __name__ == "__main__":
    main()
