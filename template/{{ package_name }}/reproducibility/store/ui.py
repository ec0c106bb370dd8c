"""MLflow's UI over the project's own store, on this machine only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from ..common import ports, quiet, shell, terminal
from ..common.errors import ProjectError
from ..common.interrupts import Interrupts
from ..common.project import ROOT
from ..common.scratch import temporary_folder

HOST = "127.0.0.1"
#: Seconds between two looks at whether it answers.
PAUSE = 0.1
#: Seconds in which its last words are waited for: a process that it left behind may keep them open.
PATIENCE = 2.0
#: What MLflow says of a server for other machines, which this is not.
ADVICE = "[MLflow] Security middleware enabled with default settings"


def serve(uri: str, port: int) -> None:
    """Serve MLflow's UI until this process is interrupted, and say where it is once it answers.

    Without `-v`, MLflow tells only what goes wrong.

    Parameters
    ----------
    uri : str
        The store.
    port : int
        Where it listens.

    Raises
    ------
    ProjectError
        If the port is in use, or the server ends with an error.
    """
    if ports.listens(HOST, port):
        raise ProjectError(f"port {port} is in use: another UI, of another project perhaps.", "just ui --port 5001")
    # Its background jobs serve features of the GenAI pages, and cost four processes.
    variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    options = ["--backend-store-uri", uri, "--host", HOST, "--port", str(port)]
    verbose = quiet.VERBOSE in os.environ
    if not verbose:
        variables |= {"PYTHONWARNINGS": "ignore"}
        options += ["--uvicorn-opts", "--log-level warning"]
    ended = threading.Event()
    said, errors = os.pipe()
    threads = [
        threading.Thread(target=_tell, args=(port, ended), daemon=True),
        threading.Thread(target=_pass_on, args=(said,), daemon=True),
    ]
    with temporary_folder("ui") as folder, Interrupts(last=True) as interrupts:
        for thread in threads:
            thread.start()
        try:
            interrupts.allow()
            command = [str(_python(folder)), "-m", "mlflow", "ui", *options]
            code = shell.run(command, ROOT, variables, None if verbose else subprocess.DEVNULL, errors=errors)
        finally:
            os.close(errors)
            ended.set()
            for thread in threads:
                thread.join(PATIENCE)
    if code:
        raise ProjectError("MLflow's UI ended with an error; it says why above.", "just ui -v      just doctor")


def _tell(port: int, ended: threading.Event) -> None:
    with terminal.waiting("starting MLflow's UI"):
        while not ports.listens(HOST, port) and not ended.wait(PAUSE):
            pass
    if not ended.is_set():
        print(f"MLflow's UI: http://{HOST}:{port}   (Ctrl-C ends it)", flush=True)


def _pass_on(said: int) -> None:
    with open(said, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith(ADVICE):
                sys.stderr.write(line)


def _python(folder: Path) -> Path:
    """Give this interpreter, by a way whose name MLflow can take."""
    python = Path(sys.executable)
    if "%" not in sys.prefix:
        return python
    (folder / "venv").symlink_to(sys.prefix)  # the processes that MLflow starts would take it for a code
    return folder / "venv" / python.relative_to(sys.prefix)
