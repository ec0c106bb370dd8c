"""A fence around a run whose process was lost: a twin that goes on somewhere unnoticed is kept from writing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

#: Set on the nodes of a cluster, where nobody may be left to end a process: it looks itself whether its run is wanted.
FENCED = "REPRO_FENCED"
#: Seconds between two looks.
PAUSE = 10


def give_up(run_id: str) -> None:
    """Give up a run whose process was lost.

    It is deleted: a twin is then refused by the store, whatever it logs.
    """
    import mlflow

    client = mlflow.MlflowClient()
    client.set_terminated(run_id, "KILLED")
    client.delete_run(run_id)


def watch(run_id: str) -> None:
    """On a node, end this process once its run is given up: who asked for it thinks that it is lost, or was ended."""
    if FENCED in os.environ:
        threading.Thread(target=_watch, args=(run_id,), daemon=True).start()


def _watch(run_id: str) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    while True:
        time.sleep(PAUSE)
        with contextlib.suppress(MlflowException):  # who does not answer says nothing
            if mlflow.MlflowClient().get_run(run_id).info.lifecycle_stage != "active":
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                return
