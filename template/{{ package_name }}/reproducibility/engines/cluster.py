"""Jobs on the nodes of a cluster: Dask hands them out, Slurm starts its workers where it is told to."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shlex
import shutil
import subprocess
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import conf
from ..common import digest, shell
from ..common.errors import ProjectError
from ..common.files import cache
from ..common.locking import exclusive
from ..common.project import PACKAGE, ROOT
from ..common.uv import require_uv
from ..environment.lockfile import CLUSTER_LOCK
from ..randomness import launch
from ..store import sqlite, tracking
from ..training import editor
from . import bundle
from .correspondent import Correspondent
from .jobs import Job, Outcome

HERE = Path(__file__).parent
#: Of the shell's variables, those by which a node reaches the store; they are sent with a job, and written nowhere.
STORE = ("MLFLOW_TRACKING_", "MLFLOW_S3_", "AWS_", "AZURE_STORAGE_", "GOOGLE_APPLICATION_", "DATABRICKS_")
#: Seconds in which workers that were started for it end.
PATIENCE = 60
EXAMPLE = """\
partition: batch # and account: NAME, where yours asks for one
walltime: "01:00:00" # of each worker; a run that it cuts short is done again
memory: 4GB
cores: 1 # runs that a worker does at once
interface: eth0 # the network between head and nodes: ip link
"""


class Slurm(BaseModel):
    """What Slurm is asked for: confs/cluster.yaml."""

    model_config = ConfigDict(extra="forbid")

    partition: str | None = Field(None, description="The partition, where it is not Slurm's own choice.")
    account: str | None = Field(None, description="Whose time it is, where yours asks for one.")
    walltime: str = Field("01:00:00", description="Of each worker; a run that it cuts short is done again.")
    memory: str = Field(description="Of each worker, such as 4GB.")
    cores: int = Field(1, ge=1, description="Runs that a worker does at once.")
    interface: str | None = Field(None, description="The network between head and nodes, such as eth0.")
    extra: list[str] = Field([], description="More lines for #SBATCH.")

    def options(self, python: Path) -> dict[str, Any]:
        """Give what dask-jobqueue's `SLURMCluster` takes."""
        return {
            "queue": self.partition,
            "account": self.account,
            "walltime": self.walltime,
            "memory": self.memory,
            "cores": self.cores,
            "processes": 1,
            "interface": self.interface,
            "job_extra_directives": self.extra,
            "python": str(python),
        }


class Cluster(Correspondent):
    """Does jobs on a cluster, by an agent that speaks to it; see agent.py.

    Parameters
    ----------
    folder : Path
        For the code that nodes are given.
    python : Path
        The interpreter of the environment that has Dask.
    scheduler : str, optional
        The address of a scheduler of Dask's; without one, Slurm starts workers.
    slurm : Slurm, optional
        What it is asked for.
    workers : int
        How many workers Slurm starts.
    """

    def __init__(self, folder: Path, python: Path, scheduler: str | None, slurm: Slurm | None, workers: int) -> None:
        self.width = 0
        archive = bundle.pack(folder)
        self._digest = digest.of_file(archive).removeprefix("sha256:")
        self._numbers = itertools.count()
        agent = [str(python), "-I", str(HERE / "agent.py")]
        super().__init__(agent, "the connection to the cluster ended", PATIENCE, env=shell.child())
        about = {
            "scheduler": scheduler,
            "slurm": slurm.options(python) if slurm else None,
            "shared": str(python.parents[1]),
            "workers": workers,
            "archive": str(archive),
            "node": (HERE / "node.py").read_text("utf-8"),
        }
        self.tell(json.dumps(about))

    def wait(self) -> None:
        """Wait for the first worker; Slurm may have a queue.

        Raises
        ------
        ProjectError
            If the agent ended: its own message stands above.
        """
        with self._changed:
            while not self.width and self.alive:
                self._changed.wait(0.5)
        if not self.alive:
            raise ProjectError(
                "the cluster cannot be used; its own message stands above.",
                "Give --scheduler the address of a running Dask scheduler, or correct confs/cluster.yaml.",
            )

    def submit(self, job: Job) -> Future[Outcome]:
        """Begin a job, wherever Dask has a worker for it."""
        asked = {
            "bundle": self._digest,
            "package": PACKAGE,
            "python": _python_version(),
            "variables": _variables(job),
            "job": job.text(),
        }
        number = str(next(self._numbers))
        return self.ask(number, json.dumps({"id": number, "asked": asked}))

    def heard(self, line: str) -> None:
        """Take how many jobs it can do at once, or how one ended."""
        told = json.loads(line)
        if "width" in told:
            with self._changed:
                self.width = told["width"]
                self._changed.notify_all()
        else:
            self.settle(told["id"], Outcome(**told["outcome"]))


def python() -> Path:
    """Give the interpreter of an environment that has Dask, built from constraints-cluster.txt, every hash required.

    Raises
    ------
    ProjectError
        If there is no such lock, or it cannot be installed.
    """
    if not CLUSTER_LOCK.exists():
        raise ProjectError(
            f"there is no {CLUSTER_LOCK.name}, the lock of Dask, which speaks to the cluster.",
            "just lock --only cluster      writes it; then the same once more",
        )
    require_uv()
    path = cache() / f"cluster-{digest.of_file(CLUSTER_LOCK)[7:23]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path):
        if not (path / "built").exists():
            shutil.rmtree(path, ignore_errors=True)
            sync = ["uv", "pip", "sync", "--quiet", "--python", str(path), "--require-hashes", str(CLUSTER_LOCK)]
            for command in (["uv", "venv", "--quiet", "--python", _python_version(), str(path)], sync):
                if subprocess.run(command, cwd=ROOT, env=shell.child()).returncode:
                    raise ProjectError(
                        f"the environment of {CLUSTER_LOCK.name} could not be built; uv says why above.",
                        "Mend what uv names, then try again.",
                    )
            (path / "built").touch()
    return path / "bin" / "python"


def require_safe(scheduler: str, insecure: bool) -> None:
    """Refuse to send code and credentials over a network on which anybody could read them, and execute others.

    Raises
    ------
    ProjectError
        If a scheduler is neither on loopback nor spoken to by TLS, and nobody said that this is meant.
    """
    address = urlsplit(scheduler)
    if address.scheme not in ("tcp", "tls", "ucx", "ws", "wss") or not address.hostname:
        raise ProjectError(
            f"{scheduler!r} is no address of a scheduler of Dask's.", "--scheduler tls://HOST:8786", exit_code=64
        )
    is_here = address.hostname == "localhost" or address.hostname.startswith("127.") or address.hostname == "::1"
    if address.scheme not in ("tls", "wss") and not is_here and not insecure:
        raise ProjectError(
            f"{scheduler} is on a network, and not encrypted: who is on it could read what is sent, or run code.",
            "Start scheduler and workers with certificates, and use tls://HOST:PORT\n"
            "(docs of Dask, `distributed.comm.tls`); or say that the network is yours alone: --insecure",
        )


def require_shared_store() -> None:
    """Refuse a store that is a file: the nodes could not write it.

    Raises
    ------
    ProjectError
        With how to have another.
    """
    uri = tracking.store_uri()
    if sqlite.path_of(uri) or uri.startswith("file:"):
        raise ProjectError(
            f"the nodes of a cluster cannot reach the store {tracking.public(uri)}: it is a file of this machine.",
            "MLFLOW_TRACKING_URI=http://HOST:5000 just … --on …      A tracking server of your own: README.md",
        )


def slurm(path: Path) -> Slurm:
    """Read what Slurm is asked for.

    Raises
    ------
    ProjectError
        If there is no such file, with an example; or if it is not as it should be.
    """
    editor.describe("cluster", Slurm)
    if not path.exists():
        raise ProjectError(f"there is no {path}, which says what Slurm is asked for.", f"Write it, such as:\n{EXAMPLE}")
    if not shutil.which("sbatch"):
        raise ProjectError("`sbatch`, Slurm's command, is not on PATH.", "Log in to the cluster, and try there.")
    try:
        asked = Slurm.model_validate(conf.load(path))
    except ValidationError as error:
        raise ProjectError(
            f"{path} is not as Slurm is asked:\n{conf.problems(error)}", f"Correct that; an example:\n{EXAMPLE}"
        ) from error
    _require_accepted(asked, path)
    return asked


def _require_accepted(asked: Slurm, path: Path) -> None:
    """Ask Slurm whether it would start such a worker, and start none: later nobody would tell why it does not."""
    named = {
        "partition": asked.partition,
        "account": asked.account,
        "time": asked.walltime,
        "cpus-per-task": asked.cores,
    }
    options = [f"--{name}={value}" for name, value in named.items() if value]
    extra = [part for line in asked.extra for part in shlex.split(line)]
    command = ["sbatch", "--test-only", *options, *extra, "--wrap", "true"]
    done = subprocess.run(command, capture_output=True, text=True, env=shell.child())
    if done.returncode:
        raise ProjectError(
            f"Slurm would start no worker as {path} asks for it: {done.stderr.strip()[-500:]}",
            "Correct that; what there is: sinfo      and your accounts: sacctmgr show associations user=$USER",
        )


def _variables(job: Job) -> dict[str, str]:
    """Give the environment variables of a job on a node: those of a run, and the way to the store."""
    way = {name: value for name, value in os.environ.items() if name.startswith(STORE)}
    return {
        **way,
        **launch.variables(job.settings["seed"], job.settings["threads"]),
        "MLFLOW_TRACKING_URI": tracking.store_uri(),
    }


@functools.cache
def _python_version() -> str:
    text = yaml.safe_load((ROOT / "python_env.yaml").read_text("utf-8"))
    return str(text["python"])
