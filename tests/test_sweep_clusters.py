"""Sweeps on clusters: real hosts, a real Dask and a real Slurm give the result that one machine gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TEMPLATE, Project, clone, refused
from numpy._core import _multiarray_umath
from test_clusters import CERTIFICATE, WORKER, dask, part, running, scratch  # noqa: F401 - fixtures
from test_interrupts import wait_for
from test_steps import NEEDS, began, edit, into_small_steps, verdicts
from test_sweep_runs import conf

import clusters
import keeper

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
TRIALS = {"trials": 6, "batch": 3}


@pytest.fixture(scope="module")
def whole(set_up: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The result of the sweep on one machine."""
    project = clone(set_up("classification"), tmp_path_factory.mktemp("whole") / "bikes")
    conf(project, **TRIALS)
    project.just("sweep")
    [sweep] = [run for run in project.runs() if "repro.sweep" in run.data.tags]
    return str(sweep.data.tags["repro.result"])


#: Nothing leaves these hosts, and all was installed before.
OFFLINE = {"UV_OFFLINE": "1", "UV_CACHE_DIR": keeper.run(["uv", "cache", "dir"]).stdout.strip()}


class Site:
    """A project on the first of some hosts, and a tracking server there that all of them reach.

    Of one with Dask: the process of its scheduler, and what starts it and its workers once more.
    """

    scheduler: int
    begun_again: Callable[[], AbstractContextManager[list[str]]]

    def __init__(
        self, project: Project, hosts: list[clusters.Host], folder: Path, store: str, variables: dict[str, str]
    ) -> None:
        self.project = project
        self.head = hosts[0]
        self.uri = f"http://{self.head.address}:5000"
        self.store = store
        self.variables = variables | {
            "MLFLOW_TRACKING_URI": self.uri,
            "XDG_CACHE_HOME": str(folder / "cache"),
            **OFFLINE,
        }

    def command(self, *arguments: str) -> list[str]:
        return self.head.command("just", *arguments)

    def just(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.project.path,
            env=os.environ | self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a recipe in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.project.path,
            env=os.environ | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def runs(self) -> list[Any]:
        """All runs, asked of the database: the server's address is none of this machine's."""
        import mlflow

        client = mlflow.MlflowClient(self.store)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, order_by=["attributes.start_time DESC"]))

    def sweep(self) -> Any:
        return next(run for run in self.runs() if "repro.sweep" in run.data.tags)

    def finished(self) -> int:
        """How many trials have finished."""
        return sum("repro.trial" in run.data.tags and run.info.status == "FINISHED" for run in self.runs())

    def assert_whole(self, result: str) -> None:
        """The sweep is done: every trial once, nothing is open, and its result is that of one machine."""
        sweep = self.sweep()
        own = [run for run in self.runs() if run.data.tags.get("mlflow.parentRunId") == sweep.info.run_id]
        assert Counter(run.data.tags["repro.trial"] for run in own) == Counter(map(str, range(TRIALS["trials"])))
        assert {run.info.status for run in self.runs()} == {"FINISHED"}
        assert sweep.data.tags["repro.result"] == result


@contextmanager
def site(project: Project, hosts: list[clusters.Host], folder: Path, store: str, **variables: str) -> Iterator[Site]:
    """Start the tracking server of a site."""
    made = Site(project, hosts, folder, store, variables)
    command = [sys.executable, "-m", "mlflow", "server", "--host", made.head.address, "--port", "5000"]
    command += ["--backend-store-uri", store, "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"]
    options = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(made.head.command(*command), cwd=folder, env=options, stdout=log, stderr=log)
    probe = f"import urllib.request; urllib.request.urlopen('{made.uri}/health', timeout=2)"

    def answers() -> bool:
        return made.head.run(sys.executable, "-c", probe, check=False).returncode == 0

    try:
        wait_for(lambda: server.poll() is not None or answers(), "the server answers")
        assert server.poll() is None, (folder / "server.log").read_text()
        yield made
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # it waits for whoever had asked it from a host that was unplugged
            server.kill()
            server.wait()


@pytest.fixture
def project(set_up: Callable[..., Project], tmp_path: Path) -> Project:
    project = clone(set_up("classification"), tmp_path / "bikes")
    conf(project, **TRIALS)
    return project


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of what is behind the tracking server: a file, or what else a test asks for."""
    return str(request.getfixturevalue(request.param)) if hasattr(request, "param") else f"sqlite:///{tmp_path}/runs.db"


@pytest.fixture(scope="session")
def cached(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bring what nodes and launchers install into uv's cache, while there is a network."""
    for name in ("constraints.txt", "constraints-cluster.txt"):
        [lock] = [*TEMPLATE.glob(f"template/{name}"), *TEMPLATE.glob(f"template/*== 'scikit-learn'*/{name}")]
        folder = str(tmp_path_factory.mktemp("cached"))
        keeper.run(["uv", "venv", "--quiet", "--python", "3.11", folder])
        keeper.run(["uv", "pip", "sync", "--quiet", "--python", folder, "--require-hashes", str(lock)])


@contextmanager
def dask_on(
    project: Project,
    dask: Path,  # noqa: F811
    hosts: list[clusters.Host],
    folder: Path,
    store: str,
    second: tuple[str, ...] = (),
) -> Iterator[Site]:
    """A scheduler on the first host and a worker on each, by TLS, whose caches are not shared."""
    keeper.run([f"{dask}/python", "-c", CERTIFICATE], cwd=folder)
    tls = {"CA_FILE": "certificate"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        tls |= {f"{role}__CERT": "certificate", f"{role}__KEY": "key"}
    variables = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(folder / file) for name, file in tls.items()}
    variables |= {f"DASK_DISTRIBUTED__{name}": "15s" for name in ("SCHEDULER__WORKER_TTL", "COMM__TIMEOUTS__CONNECT")}
    told = [f"--scheduler-file={folder / 'scheduler'}", "--protocol=tls"]
    scheduler = hosts[0].command(*part(dask, "scheduler", hosts[0].address, "--port=8786", *told))
    workers = [
        host.command(
            *("env", f"XDG_CACHE_HOME={folder / host.name}", *(f"{name}={value}" for name, value in OFFLINE.items())),
            *(second if host == hosts[1] else ()),
            *part(dask, "worker", host.address, *WORKER, f"--name={host.name}", *told),
        )
        for host in hosts
    ]
    begun = partial(running, scheduler, *workers, **variables)
    with begun() as processes, site(project, hosts, folder, store, **variables) as made:
        made.scheduler, made.begun_again = int(processes[0]), begun
        yield made


@pytest.fixture
def dask_site(
    project: Project,
    cached: None,
    dask: Path,  # noqa: F811
    hosts: list[clusters.Host],
    tmp_path: Path,
    store: str,
) -> Iterator[Site]:
    """Dask on two hosts."""
    with dask_on(project, dask, hosts, tmp_path, store) as made:
        yield made


ON_DASK = ("sweep", "--on", "dask", "--scheduler", "tls://10.0.0.1:8786")


@pytest.mark.parametrize("store", ["database"], indirect=True)
def test_dask_on_two_hosts_gives_the_result_of_one_machine(dask_site: Site, whole: str, tmp_path: Path) -> None:
    dask_site.just(*ON_DASK)
    dask_site.assert_whole(whole)
    for host in ("n0", "n1"):
        assert list(tmp_path.glob(f"{host}/copier-mlflow/nodes/*/ready")), f"{host} did nothing"
    child = next(run for run in dask_site.runs() if "repro.trial" in run.data.tags)
    assert "identical" in dask_site.just("reproduce", child.info.run_id)
    refused = dask_site.just("sweep", "--on", "dask", "--scheduler", "tcp://10.0.0.1:8786", check=False)
    assert "not encrypted" in refused and "--insecure" in refused


@pytest.mark.slow
def test_a_pipeline_on_two_hosts_gives_the_bits_of_one_machine(dask_site: Site, tmp_path: Path) -> None:
    project = into_small_steps(dask_site.project)
    here = clone(project, tmp_path / "here")
    here.just("pipeline")
    command = ("pipeline", *ON_DASK[1:])
    done = dask_site.just(*command)
    assert began(done).keys() == NEEDS.keys()

    def results(runs: list[Any]) -> dict[str, str]:
        return {
            run.data.tags["repro.step"]: run.data.tags["repro.result"] for run in runs if "repro.step" in run.data.tags
        }

    assert results(dask_site.runs()) == results(here.runs())
    assert {run.info.status for run in dask_site.runs()} == {"FINISHED"} and len(dask_site.runs()) == len(NEEDS) + 1
    assert not began(dask_site.just(*command)) and not began(dask_site.just("pipeline")), "its proof holds here too"
    last = next(run.info.run_id for run in dask_site.runs() if run.data.tags.get("repro.step") == "last")
    assert set(verdicts(dask_site.just("reproduce", last, "--chain")).values()) == {"identical"}
    # A step that fails on a node is told here, and goes on from there.
    edit(project.path / "bikes" / "right.py", "def ", "raise ValueError('no')\n\n\ndef ")
    failed = dask_site.just(*command, check=False)
    assert "ValueError: no" in failed and "the step 'right' failed" in failed
    edit(project.path / "bikes" / "right.py", "raise ValueError('no')\n\n\ndef ", "def ")
    dask_site.just(*command)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "unplug"])
def test_a_host_that_is_lost_changes_nothing(dask_site: Site, hosts: list[clusters.Host], whole: str, how: str) -> None:
    with dask_site.started(*ON_DASK) as process:
        wait_for(lambda: process.poll() is not None or dask_site.finished() >= 1, "a trial is done", 300)
        getattr(hosts[1], how)()
        out = process.communicate(timeout=600)[0]
    assert process.returncode == 0, out
    dask_site.assert_whole(whole)


@pytest.mark.slow
def test_a_sweep_whose_scheduler_was_killed_is_resumed(dask_site: Site, whole: str) -> None:
    with dask_site.started(*ON_DASK) as process:
        wait_for(lambda: process.poll() is not None or dask_site.finished() >= 2, "trials are done", 300)
        os.kill(dask_site.scheduler, signal.SIGKILL)
        out = process.communicate(timeout=300)[0]
    sweep = dask_site.sweep().info.run_id
    assert process.returncode == 3 and f"just sweep --resume {sweep}" in out and "Traceback" not in out, out
    assert {run.info.status for run in dask_site.runs()} <= {"FINISHED", "FAILED"}
    with dask_site.begun_again():
        dask_site.just("sweep", "--resume", sweep, *ON_DASK[1:])
    dask_site.assert_whole(whole)


@pytest.mark.slow
def test_a_sweep_goes_on_with_a_scheduler_that_was_started_again(dask_site: Site, whole: str) -> None:
    with dask_site.started(*ON_DASK) as process:
        wait_for(lambda: process.poll() is not None or dask_site.finished() >= 2, "trials are done", 300)
        os.kill(dask_site.scheduler, signal.SIGKILL)
        with dask_site.begun_again():
            out = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "Traceback" not in out, out
    dask_site.assert_whole(whole)


@pytest.mark.slow
def test_another_kind_of_cpu_is_told_and_its_runs_are_explained(
    project: Project,
    cached: None,
    dask: Path,  # noqa: F811
    hosts: list[clusters.Host],
    tmp_path: Path,
    store: str,
) -> None:
    """On the second host NumPy and OpenBLAS are kept from what its CPU could do."""
    dispatched = " ".join(_multiarray_umath.__cpu_dispatch__)
    poor = ("env", f"NPY_DISABLE_CPU_FEATURES={dispatched}", "OPENBLAS_CORETYPE=Nehalem")
    with dask_on(project, dask, hosts, tmp_path, store, poor) as made:
        out = made.just(*ON_DASK)
        assert "another kind of CPU" in out
        runs = [run for run in made.runs() if "repro.trial" in run.data.tags]
        verdicts = {made.just("reproduce", run.info.run_id).split("\ntagged")[0] for run in runs}
        assert len(runs) == TRIALS["trials"] and all(
            "identical: " in told or "equivalent: " in told for told in verdicts
        )


@pytest.mark.slow
def test_a_node_with_another_lock_refuses_and_the_sweep_goes_on(dask_site: Site, whole: str, tmp_path: Path) -> None:
    dask_site.just(*ON_DASK)
    [lock] = tmp_path.glob("n1/copier-mlflow/nodes/*/project/constraints.txt")
    lock.write_text(lock.read_text("utf-8").replace("scikit-learn==", "scikit-learn==0."), "utf-8")
    out = dask_site.just(*ON_DASK)
    assert "a node is left out: n1: " in out and "constraints.txt was changed" in out
    dask_site.assert_whole(whole)


@pytest.mark.slow
def test_a_sweep_that_ends_leaves_no_trial_behind(dask_site: Site, hosts: list[clusters.Host], whole: str) -> None:
    with dask_site.started(*ON_DASK) as process:
        wait_for(lambda: process.poll() is not None or dask_site.finished() >= 2, "trials are done", 300)
        os.killpg(process.pid, signal.SIGINT)
        out = process.communicate(timeout=120)[0]
    assert process.returncode == 130 and "--resume" in out
    assert {run.info.status for run in dask_site.runs()} <= {"FINISHED", "KILLED"}
    trials = ["/usr/bin/pgrep", "--full", "bikes trial "]
    wait_for(lambda: subprocess.run(trials, capture_output=True).returncode, "no trial goes on", 60)
    sweep = dask_site.sweep().info.run_id
    dask_site.just("sweep", "--resume", sweep, *ON_DASK[1:])
    dask_site.assert_whole(whole)


@pytest.fixture
def slurm_site(project: Project, cached: None, slurm: clusters.Slurm, tmp_path: Path, store: str) -> Iterator[Site]:
    """Slurm, asked from its head for one worker a node."""
    cluster = {"memory": "1GB", "cores": 1, "interface": "eth0", "extra": ["--exclusive"]}
    (project.path / "confs" / "cluster.yaml").write_text(yaml.safe_dump(cluster), "utf-8")
    project.commit()
    hosts = [slurm.head, *slurm.nodes.values()]
    environment = slurm.environment | {"HOME": str(tmp_path)}
    with site(project, hosts, tmp_path, store, **environment) as made:
        yield made


ON_SLURM = ("sweep", "--on", "slurm", "--workers", "2")


def test_slurm_gives_the_result_of_one_machine(slurm_site: Site, slurm: clusters.Slurm, whole: str) -> None:
    file = slurm_site.project.path / "confs" / "cluster.yaml"
    right = file.read_text("utf-8")
    file.write_text(yaml.safe_dump(yaml.safe_load(right) | {"partition": "nowhere"}), "utf-8")
    refused = slurm_site.just(*ON_SLURM, check=False)
    assert "would start no worker" in refused and "invalid partition" in refused and "Traceback" not in refused
    file.write_text(right, "utf-8")
    slurm_site.just(*ON_SLURM)
    slurm_site.assert_whole(whole)
    wait_for(lambda: slurm.idle, "nothing is in the queue")


@pytest.mark.slow
@pytest.mark.parametrize("back", ["at once", "when the sweep is over"])
def test_slurm_without_a_controller_changes_nothing(
    slurm_site: Site, slurm: clusters.Slurm, whole: str, back: str
) -> None:
    with slurm_site.started(*ON_SLURM) as process:
        wait_for(lambda: process.poll() is not None or slurm_site.finished() >= 1, "a trial is done", 300)
        slurm.kill_controller()
        if back == "at once":
            slurm.start_controller()
        out = process.communicate(timeout=600)[0]
    assert process.returncode == 0 and "Traceback" not in out, out
    slurm_site.assert_whole(whole)
    if back != "at once":
        slurm.start_controller()
    wait_for(lambda: slurm.idle, "nothing is in the queue")


@pytest.mark.slow
def test_workers_that_slurm_ended_are_started_again(slurm_site: Site, slurm: clusters.Slurm, whole: str) -> None:
    """As at the end of their walltime, which all have at once."""
    with slurm_site.started(*ON_SLURM) as process:
        wait_for(lambda: process.poll() is not None or slurm_site.finished() >= 1, "a trial is done", 300)
        slurm.run("scancel", "--user=root")
        out = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "Traceback" not in out, out
    slurm_site.assert_whole(whole)
    wait_for(lambda: slurm.idle, "nothing is in the queue")


def test_a_cluster_that_cannot_be_is_told_before_anything_runs(project: Project) -> None:
    for arguments, said in (
        (("--on", "dask"), "go together"),
        (("--scheduler", "tls://10.0.0.1:1"), "go together"),
        (("--on", "dask", "--scheduler", "10.0.0.1:8786"), "is no address of a scheduler"),
        (("--on", "dask", "--scheduler", "tcp://10.0.0.1:8786"), "is on a network, and not encrypted"),
        (("--on", "dask", "--scheduler", "tls://10.0.0.1:8786"), "cannot reach the store sqlite"),
        (("--on", "slurm"), "walltime"),
    ):
        done = project.just("sweep", *arguments, check=False)
        assert done.returncode in (3, 64) and said in done.stdout and len(done.stdout.splitlines()) < 20
    (project.path / "constraints-cluster.txt").unlink()
    command = ("sweep", "--on", "dask", "--scheduler", "tls://127.0.0.1:1")
    done = project.just(*command, check=False, MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert "just lock --only cluster" in refused(done) and len(done.stdout.splitlines()) == 2
    assert not (project.path / "mlflow.db").exists()
