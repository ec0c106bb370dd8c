"""The clusters that tests start: real, and gone when their owner is gone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import started
from test_interrupts import wait_for

import clusters
import keeper

pytestmark = pytest.mark.e2e


# --- Hosts --------------------------------------------------------------------
#: Waits for one connection on every address, and tells its port.
SERVER = """
import socket
server = socket.create_server(("0.0.0.0", 0))
print(server.getsockname()[1], flush=True)
server.accept()
"""
CLIENT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"


def reaches(host: clusters.Host, address: str, port: int) -> bool:
    return host.run(sys.executable, "-c", CLIENT, address, str(port), check=False).returncode == 0


def test_hosts_see_each_other_and_nothing_else(hosts: list[clusters.Host]) -> None:
    one, two = hosts
    assert [host.run("hostname").stdout for host in hosts] == ["n0\n", "n1\n"]
    with two.popen(sys.executable, "-c", SERVER, stdout=subprocess.PIPE) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        assert not reaches(one, "127.0.0.1", port)
        assert reaches(one, two.address, port)
    with socket.create_server(("0.0.0.0", 0)) as outside:
        listed = json.loads(subprocess.run(["ip", "-json", "-4", "address"], capture_output=True).stdout)
        addresses = [address["local"] for link in listed for address in link["addr_info"]]
        assert "127.0.0.1" in addresses
        for address in addresses:
            assert not reaches(one, address, outside.getsockname()[1]), address


def test_what_runs_in_a_host_dies_with_it(hosts: list[clusters.Host]) -> None:
    one, two = hosts
    script = "sleep 600 & setsid sleep 600 & wait"
    with one.popen("sh", "-c", script) as dies, two.popen("sleep", "600") as lives:
        wait_for(lambda: len(one.processes()) == 3 and lives.pid in two.processes(), "all run")
        one.kill()
        assert one.processes() == []
        assert dies.wait() == -9
        assert lives.poll() is None
        lives.kill()
    assert one.run("hostname").stdout == "n0\n"


def test_what_runs_in_an_unplugged_host_runs_on_and_is_seen_again(hosts: list[clusters.Host]) -> None:
    one, two = hosts
    with two.popen(sys.executable, "-c", SERVER, stdout=subprocess.PIPE) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        two.unplug()
        assert not reaches(one, two.address, port)
        assert server.poll() is None
        two.plug()
        assert reaches(one, two.address, port)


def test_tests_without_a_cluster_are_counted_by_reason() -> None:
    programs = str(Path(sys.executable).parent)
    command = [sys.executable, "-m", "pytest", "-n0", "-q", __file__, "-k", "see_each_other or steps_on"]
    done = subprocess.run(command, env=os.environ | {"PATH": programs}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "2 tests had no engine and did not run: 1 because engines are made of Debian's" in done.stdout
    assert "1 because this machine lets nobody `unshare --net --uts`" in done.stdout


#: An owner of hosts, which is killed.
OWNER = """
import os, time
import clusters
one, two = clusters.hosts(os.getpid())
print(one.popen("sleep", "600").pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("keeper_too", [False, True])
def test_hosts_of_an_owner_that_was_killed_are_cleared(keeper_too: bool, hosts: list[clusters.Host]) -> None:
    variables = os.environ | {"PYTHONPATH": str(Path(clusters.__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=-1, text=True, env=variables) as owner:
        try:
            assert owner.stdout
            running = keeper.Process.of(int(owner.stdout.readline()))
            folder = keeper.folder_of(owner.pid) / "hosts2"
            kept = keeper.noted(folder / "keeper")
            networks = list(keeper.NETWORKS.glob(keeper.network(folder, "*")))
            assert running and running.alive and kept.alive and len(networks) == 3
            if keeper_too:
                os.kill(kept.pid, 9)
        finally:
            owner.kill()
    if keeper_too:
        keeper.session(os.getpid())
    wait_for(lambda: not running.alive and not kept.alive and not folder.exists(), "all of it is gone")
    assert not any(network.exists() for network in networks)
    assert hosts[0].run("hostname").stdout == "n0\n", "others were touched"


# --- Slurm --------------------------------------------------------------------
def submit(slurm: clusters.Slurm, script: str, *options: str) -> int:
    return int(slurm.run("sbatch", "--parsable", *options, f"--wrap={script}").stdout)


def test_slurm_runs_steps_on_both_nodes(slurm: clusters.Slurm) -> None:
    assert sorted(slurm.run("srun", "-N2", "hostname").stdout.split()) == ["n1", "n2"]
    assert slurm.run("srun", "-N3", "hostname", check=False).returncode != 0


def test_job_of_a_killed_node_begins_again(slurm: clusters.Slurm, tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    script = f"echo $(hostname) $SLURM_RESTART_COUNT >> {began}; until [ -e {go} ]; do sleep 0.1; done"
    job = submit(slurm, script, "--nodelist=n1", "--output=/dev/null")
    wait_for(began.exists, "the job runs")
    assert [(job.number, job.state, job.node) for job in slurm.jobs()] == [(job, "RUNNING", "n1")]
    slurm.kill_node("n1")
    wait_for(lambda: slurm.states() == {"n1": "down*", "n2": "idle"}, "Slurm knows that the node is down")
    [waiting] = slurm.jobs()
    assert waiting.state == "PENDING"
    slurm.start_node("n1")
    wait_for(lambda: len(began.read_text().splitlines()) == 2, "the job runs again")
    go.touch()
    wait_for(lambda: slurm.idle, "the job is done")
    assert began.read_text() == "n1\nn1 1\n"


@pytest.mark.slow
def test_job_of_an_unplugged_node_runs_twice_until_the_node_is_back(slurm: clusters.Slurm, tmp_path: Path) -> None:
    script = f"while true; do hostname >> {tmp_path}/${{SLURM_RESTART_COUNT:-0}}; sleep 0.1; done"
    submit(slurm, script, "--output=/dev/null")
    first, second = tmp_path / "0", tmp_path / "1"
    wait_for(first.exists, "the job runs")
    lost, other = slurm.jobs()[0].node, ({"n1", "n2"} - {slurm.jobs()[0].node}).pop()
    slurm.nodes[lost].unplug()
    wait_for(second.exists, "the job runs again")
    assert [(job.state, job.node) for job in slurm.jobs()] == [("RUNNING", other)]
    before = first.stat().st_size
    wait_for(lambda: first.stat().st_size > before, "the lost one writes, too")
    assert set(first.read_text().split()) == {lost} and set(second.read_text().split()) == {other}
    slurm.nodes[lost].plug()
    wait_for(lambda: len(slurm.nodes[lost].processes()) == 1, "Slurm ends the lost one")
    assert slurm.jobs()[0].state == "RUNNING"


def test_stopped_slurm_leaves_nothing() -> None:
    slurm = started(clusters.slurm, owner=os.getpid())
    submit(slurm, "setsid sleep 600 & wait", "--nodelist=n1", "--output=/dev/null")
    hosts = [slurm.head, *slurm.nodes.values()]
    # The daemon, and of the job: what follows it, its shell and its processes.
    wait_for(lambda: len(slurm.nodes["n1"].processes()) >= 4, "the job runs")
    processes = [keeper.Process.of(pid) for host in hosts for pid in host.processes()]
    assert len(processes) >= 7
    slurm.stop()
    wait_for(lambda: not any(process and process.alive for process in processes), "the dead are reaped", 10)
    assert not any((keeper.NETWORKS / host.network).exists() for host in hosts) and not slurm.folder.exists()
