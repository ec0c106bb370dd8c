"""The clusters that tests start: real, and gone when their owner is gone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import copy_project, exclusive, started
from test_interrupts import wait_for
from test_locks import CLUSTER_LOCK

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
        assert reaches(one, two.name, port)
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
    assert "1 because this machine lets nobody `unshare --net --uts --mount`" in done.stdout


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
def test_a_job_runs_on_when_its_controller_is_killed(slurm: clusters.Slurm, tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    script = f"date >> {began}; until [ -e {go} ]; do sleep 0.1; done"
    job = submit(slurm, script, "--output=/dev/null")
    wait_for(began.exists, "the job runs")
    slurm.kill_controller()
    assert slurm.run("squeue", check=False).returncode != 0
    slurm.start_controller()
    wait_for(lambda: slurm.run("squeue", check=False).returncode == 0, "the controller answers")
    assert [(known.number, known.state) for known in slurm.jobs()] == [(job, "RUNNING")]
    go.touch()
    wait_for(lambda: slurm.idle, "the job is done")
    assert len(began.read_text().splitlines()) == 1


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


# --- Dask ---------------------------------------------------------------------
@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what Dask's workers write in the folder of the test."""
    monkeypatch.setenv("DASK_TEMPORARY_DIRECTORY", str(tmp_path))


@pytest.fixture(scope="session")
def dask(machine: None) -> Path:
    """The programs of a project's environment with both locks, as a person installs them; shared by all workers."""
    project = Path(os.environ["MLFLOW_ENV_ROOT"]).parent / "dask" / "bikes"
    with exclusive(project.parent):
        if not project.exists():
            copy_project(project)
        keeper.run(["uv", "venv", "--allow-existing", "--python", sys.executable], cwd=project)
        keeper.run(["uv", "pip", "sync", "--require-hashes", "constraints.txt", CLUSTER_LOCK], cwd=project)
    return project / ".venv" / "bin"


#: Does 20 tasks by two workers; tells when the first four are done, and the names of those whose results it got.
TASKS = """
import sys, time
from distributed import Client, get_worker, wait

def task(number):
    time.sleep(0.1)
    return get_worker().name

with Client(scheduler_file=sys.argv[1]) as client:
    client.wait_for_workers(2, timeout=60)
    tasks = client.map(task, range(20))
    wait(tasks[:4])
    print("four", flush=True)
    print(*client.gather(tasks))
"""
#: Makes a certificate that all use, and that vouches for itself.
CERTIFICATE = """
from pathlib import Path
from distributed import Security
made = Security.temporary()
Path("certificate").write_text(made.tls_client_cert)
Path("key").write_text(made.tls_client_key)
"""
WORKER = ("--nthreads=1", "--no-nanny")
#: Tells the addresses on which processes listen.
LISTENERS = """
import sys, psutil
found = [place for pid in sys.argv[1:] for place in psutil.Process(int(pid)).net_connections("inet")]
print(*{place.laddr.ip for place in found if place.status == "LISTEN"})
"""


@contextmanager
def running(*commands: list[str], **variables: str) -> Iterator[list[str]]:
    """Run commands until the block ends; gives their process IDs."""
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, env=os.environ | variables)) for command in commands]
        for process in processes:
            stack.callback(process.kill)
        yield [str(process.pid) for process in processes]


def part(dask: Path, what: str, address: str, *options: str) -> list[str]:
    """Write the command of a scheduler or a worker; its pages, too, are served on that address alone."""
    return [f"{dask}/dask", what, f"--host={address}", f"--dashboard-address={address}:0", *options]


def test_dask_runs_tasks_on_loopback_and_listens_nowhere_else(dask: Path, tmp_path: Path) -> None:
    told = f"--scheduler-file={tmp_path / 'scheduler'}"
    scheduler = part(dask, "scheduler", "127.0.0.1", "--port=0", told)
    workers = [part(dask, "worker", "127.0.0.1", *WORKER, f"--name={name}", told) for name in "ab"]
    with running(scheduler, *workers) as processes:
        done = keeper.run([f"{dask}/python", "-c", TASKS, f"{tmp_path / 'scheduler'}"])
        assert keeper.run([f"{dask}/python", "-c", LISTENERS, *processes]).stdout == "127.0.0.1\n"
    assert set(done.stdout.split()[1:]) == {"a", "b"} and len(done.stdout.split()) == 21


@pytest.fixture
def dask_on_hosts(dask: Path, hosts: list[clusters.Host], tmp_path: Path) -> Iterator[dict[str, str]]:
    """A scheduler on the first host and a worker on each, by TLS; gives the variables of who speaks to them."""
    keeper.run([f"{dask}/python", "-c", CERTIFICATE], cwd=tmp_path)
    tls = {"CA_FILE": "certificate"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        tls |= {f"{role}__CERT": "certificate", f"{role}__KEY": "key"}
    variables = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(tmp_path / file) for name, file in tls.items()}
    # A host that says nothing is soon taken for dead.
    soon = ["SCHEDULER__WORKER_TTL", "COMM__TIMEOUTS__CONNECT"]
    variables |= {f"DASK_DISTRIBUTED__{name}": "5s" for name in soon}
    told = [f"--scheduler-file={tmp_path / 'scheduler'}", "--protocol=tls"]
    scheduler = hosts[0].command(*part(dask, "scheduler", hosts[0].address, "--port=8786", *told))
    workers = [
        host.command(*part(dask, "worker", host.address, *WORKER, f"--name={host.name}", *told)) for host in hosts
    ]
    with running(scheduler, *workers, **variables):
        yield variables


def test_dask_runs_tasks_on_both_hosts_by_tls(
    dask: Path, hosts: list[clusters.Host], dask_on_hosts: dict[str, str], tmp_path: Path
) -> None:
    tasks = [f"{dask}/python", "-c", TASKS, f"{tmp_path / 'scheduler'}"]
    done = hosts[0].run(*tasks, **dask_on_hosts)
    assert set(done.stdout.split()[1:]) == {"n0", "n1"} and len(done.stdout.split()) == 21
    scheduler = json.loads((tmp_path / "scheduler").read_text())
    assert scheduler["address"] == "tls://10.0.0.1:8786"
    (tmp_path / "scheduler").write_text(json.dumps(scheduler | {"address": "tcp://10.0.0.1:8786"}))
    refused = hosts[0].run(*tasks, check=False)
    assert refused.returncode != 0 and "tcp://10.0.0.1:8786" in refused.stdout and "four" not in refused.stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "unplug"])
def test_tasks_of_a_lost_host_are_done_by_the_other(
    dask: Path, hosts: list[clusters.Host], dask_on_hosts: dict[str, str], tmp_path: Path, how: str
) -> None:
    tasks = [f"{dask}/python", "-c", TASKS, f"{tmp_path / 'scheduler'}"]
    variables = os.environ | dask_on_hosts
    with hosts[0].popen(*tasks, stdout=subprocess.PIPE, env=variables) as driver:
        assert driver.stdout
        assert driver.stdout.readline() == "four\n"
        getattr(hosts[1], how)()
        assert driver.stdout.read().split() == ["n0"] * 20


#: Lets Slurm start two workers, one a node, does 20 tasks by them, and tells on which nodes.
SLURM_TASKS = """
import socket, time
from dask_jobqueue import SLURMCluster
from distributed import Client

def task(number):
    time.sleep(0.1)
    return socket.gethostname()

options = {"cores": 1, "memory": "1GB", "interface": "eth0", "job_extra_directives": ["--exclusive"]}
with SLURMCluster(**options) as cluster, Client(cluster) as client:
    cluster.scale(jobs=2)
    client.wait_for_workers(2, timeout=60)
    print(*client.gather(client.map(task, range(20))))
"""


def test_slurm_starts_workers_of_dask_on_both_nodes(dask: Path, slurm: clusters.Slurm, tmp_path: Path) -> None:
    hosts = [slurm.head, *slurm.nodes.values()]
    before = [sorted(host.processes()) for host in hosts]
    done = slurm.run(f"{dask}/python", "-c", SLURM_TASKS, cwd=tmp_path)
    told = done.stdout.splitlines()[-1].split()
    assert set(told) == {"n1", "n2"} and len(told) == 20, done.stdout
    wait_for(lambda: slurm.idle, "nothing is in the queue")
    wait_for(lambda: [sorted(host.processes()) for host in hosts] == before, "no process stays")
