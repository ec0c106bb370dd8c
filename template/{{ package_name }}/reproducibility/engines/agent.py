"""Speaks to a cluster of Dask's, in an environment of its own that has Dask and nothing of the project.

It is told what to do by standard input, a line of JSON each: first of the cluster, then of jobs. It says by standard
output how many jobs can be done at once, and how each ended. Dask decides where a job is done; a node executes
`subprocess.run` with the source of node.py, so that nothing is pickled but texts. Standard library and Dask only.
"""

import base64
import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from distributed import Client, Future, Security

#: What a node executes: an interpreter of the project's Python, with the source of node.py. `exec`, and no exception
#: where there is no uv: Dask would log what a call was given.
COMMAND = ["/bin/sh", "-c", 'exec uv run --quiet --no-project --isolated --python "$0" python -I -c "$1"']
#: Seconds between two looks at how many workers there are.
PAUSE = 1.0


def main() -> None:
    """Do jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: who asks decides
    about = json.loads(sys.stdin.readline())
    try:
        with cluster(about) as (client, fill):
            Agent(client, fill, about).run()
    except (OSError, CancelledError) as error:
        sys.exit(f"notice: the scheduler cannot be reached: {error}")


@contextlib.contextmanager
def cluster(about: dict[str, Any]) -> Iterator[tuple[Client, Callable[[], object]]]:
    """Give a client of the cluster, and what lets Slurm start the workers that it lacks; they end with it."""
    if about["scheduler"]:
        with Client(about["scheduler"], timeout=30) as client:
            yield client, lambda: None
        return
    from dask_jobqueue import SLURMCluster

    # What goes over the network is encrypted by a certificate that only the processes of this user can read; Dask's
    # pages, which are open to all who reach them, are not.
    options: dict[str, Any] = {
        "security": Security.temporary(),
        "protocol": "tls://",
        "shared_temp_directory": about["shared"],
        "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
        "worker_extra_args": ["--dashboard-address", "127.0.0.1:0"],
    }
    with SLURMCluster(**options, **about["slurm"]) as started, Client(started) as client:
        yield client, lambda: started.scale(jobs=about["workers"])


class Agent:
    """Hands jobs to Dask, and code to the nodes that have not got it yet."""

    def __init__(self, client: Client, fill: Callable[[], object], about: dict[str, Any]) -> None:
        self.client = client
        self.fill = fill
        self.about = about
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.bound: dict[Future, tuple[dict[str, Any], list[str]]] = {}  # jobs that only some workers may do
        self.moved: set[Future] = set()  # of jobs that were given to others
        self.refused: dict[str, str] = {}  # why, by the address of the worker
        self.width = -1
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        """Take jobs from standard input."""
        for line in sys.stdin:
            self.events.put(("asked", json.loads(line)))
        self.events.put(("ended", None))

    def run(self) -> None:
        """Do what comes, in the order in which it comes."""
        looked = 0.0
        while True:
            if time.monotonic() - looked > PAUSE:
                self.look()
                looked = time.monotonic()
            try:
                event, what = self.events.get(timeout=PAUSE)
            except queue.Empty:
                continue
            if event == "ended":
                return
            self.submit(what) if event == "asked" else self.take(*what)

    def look(self) -> None:
        """Say how many jobs can be done at once, when that changes; free the jobs of workers that are gone."""
        self.fill()  # also in place of those whose walltime is over
        workers = self.workers()
        width = sum(worker["nthreads"] for address, worker in workers.items() if address not in self.refused)
        if width != self.width:
            self.width = width
            say({"width": width})
        for future, (job, chosen) in [*self.bound.items()]:
            if not {*workers} & {*chosen}:
                del self.bound[future]
                self.moved.add(future)
                future.cancel()
                self.submit(job)

    def workers(self) -> dict[str, Any]:
        """Give what Dask knows of its workers, by address."""
        told = self.client.scheduler_info(n_workers=-1)
        if "workers" not in told:
            raise OSError("Dask has given up")
        workers: dict[str, Any] = told["workers"]
        return workers

    def submit(self, job: dict[str, Any], archive: bool = False) -> None:
        """Let Dask do a job, on any worker that did not refuse; with the code, where the node wants it."""
        asked = dict(job["asked"])
        if archive:
            asked["archive"] = base64.b64encode(Path(self.about["archive"]).read_bytes()).decode()
        told = base64.b64encode(zlib.compress(json.dumps(asked).encode()))
        command = [*COMMAND, asked["python"], self.about["node"]]
        options = {"input": told, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        chosen = None
        if self.refused:
            chosen = [one for one in self.workers() if one not in self.refused]
            if not chosen:
                say({"id": job["id"], "outcome": {"status": "lost", "cause": next(iter(self.refused.values()))}})
                return
        future = self.client.submit(subprocess.run, command, **options, workers=chosen, pure=False)
        if chosen:
            self.bound[future] = job, chosen
        future.add_done_callback(lambda done: self.events.put(("done", (done, job))))

    def take(self, future: Future, job: dict[str, Any]) -> None:
        """Say how a job ended; or give the node what it wants, or another node the job."""
        self.bound.pop(future, None)
        if future in self.moved:
            self.moved.remove(future)
            return
        if future.status != "finished":  # "cancelled" also where the scheduler was lost, and is back
            cause = f"Dask lost it: {future.exception() if future.status == 'error' else future.status}"
            say({"id": job["id"], "outcome": {"status": "lost", "cause": cause[:200]}})
            return
        done, (places,) = future.result(), self.client.who_has([future]).values()
        worker = next(iter(places), "a worker that is gone")
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = {"refused": f"{worker}: {done.stderr.decode(errors='replace').strip()[-200:] or done.returncode}"}
        if "wants" in answer:
            self.submit(job, archive=True)  # whichever node does it now
        elif "refused" in answer:
            self.refused[worker] = answer["refused"]
            print(f"notice: a node is left out: {answer['refused']}", file=sys.stderr, flush=True)
            self.look()
            self.submit(job)
        else:
            say({"id": job["id"], "outcome": answer["outcome"]})


def say(what: dict[str, Any]) -> None:
    """Tell who started this."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
