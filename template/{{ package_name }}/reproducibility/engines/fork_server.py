"""A process that has imported everything, and is forked for each job: that spares a short one most of its time.

It is forked before any generator is seeded and any thread started, and while no store is open, so that its children
compute what a fresh process would. It reads the paths of jobs, a line each, and answers with the path and how the child
ended.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from ..common import parent
from ..common.errors import ProjectError
from ..common.project import PACKAGE
from ..environment import installed
from ..framework import FRAMEWORK
from ..source import imports
from ..store import sqlite, tracking
from ..training import steps
from ..training.garbage_collection import Collector
from ..training.steps import Definition
from . import perform
from .jobs import Job, log_of

#: What a training imports only on its way, of packages that draw no random numbers when they are imported.
ON_THE_WAY = (
    *(f"{PACKAGE}.reproducibility.{name}" for name in ("record.recorder", "datasets.loading")),
    *("mlflow.models.display_utils", "mlflow.pyfunc.scoring_server", "mlflow.utils.search_logged_model_utils"),
    *("mlflow.store.tracking.sqlalchemy_workspace_store", "sqlalchemy.dialects.sqlite", "git", "skops.io"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "PIL.JpegImagePlugin", "PIL.GifImagePlugin"),
    *("PIL.BmpImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin", "pyarrow.pandas_compat", "pyarrow.parquet"),
)
#: Seconds after which is looked at the children, also if a library has taken the signal that says that one ended.
LONGEST = 1.0
#: Seconds between two looks at those that were told to end, and until they are killed.
PAUSE, PATIENCE = 0.02, 30.0


def serve(experiment: Definition, step: str) -> None:
    """Fork for each job that standard input names, until it ends; then end the children too.

    Parameters
    ----------
    experiment : callable
        Gives the project's settings class and training, or its steps.
    step : str
        The step whose code is imported.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: each child answers it, and who asks ends this
    with Collector(last=True) as collector:
        steps.load(experiment, step)
        for name in (*ON_THE_WAY, FRAMEWORK.loader):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        _look_up()
        installed.remember()  # what was compiled: nobody waits for this process to end by itself
        with collector.at_work():
            _answer(experiment, answers)


def _answer(experiment: Definition, answers: TextIO) -> None:
    children: dict[int, str] = {}
    asked = b""
    is_first = True
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([0, woken], [], [], LONGEST if children else None)
        if woken in ready:
            os.read(woken, 1 << 16)
        if 0 in ready:
            got = os.read(0, 1 << 16)
            if not got:
                break
            *lines, asked = (asked + got).split(b"\n")
            for path in map(bytes.decode, lines):
                if is_first:
                    _look_into_store(Job.read(Path(path)))
                    is_first = False
                children[_fork(experiment, path)] = path
        _tell_ended(children, answers)
    _end(children)


def _look_up() -> None:
    """Find out once what is looked up and kept: each child would read hundreds of files for it, or write to memory."""
    import pandas as pd
    from mlflow.store.db import utils

    imports.taken()
    sqlite.outdated()
    with contextlib.suppress(ImportError):  # through which scikit-learn looks at tables; its plugins are looked for
        importlib.import_module("narwhals.stable.v2").from_native(pd.DataFrame())
    with contextlib.suppress(AttributeError):  # of another MLflow
        utils._get_latest_schema_revision = functools.cache(utils._get_latest_schema_revision)
        utils._get_latest_schema_revision()


def _look_into_store(job: Job) -> None:
    """Read the run of a job where the store is a file, and close that again: each child would learn how to ask it."""
    if tracking.database() is None:  # a connection to a server would be shared by all children
        return
    from mlflow.exceptions import MlflowException
    from mlflow.tracking._tracking_service.utils import _get_store

    with contextlib.suppress(MlflowException, ProjectError):  # of which the child tells
        tracking.require_store()
        store = _get_store()
        try:
            store.get_run(job.run)
        finally:
            store.engine.dispose()


def _fork(experiment: Definition, path: str) -> int:
    sys.stdout.flush()
    server = os.getpid()
    if child := os.fork():
        return child
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ[parent.VARIABLE] = str(server)
        log = os.open(log_of(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, place in enumerate((nothing, log, log)):
            os.dup2(place, number)
        code = perform.command(experiment, Path(path))
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # what the server would do at its end is not this child's to do


def _tell_ended(children: dict[int, str], answers: TextIO) -> None:
    for child in [*children]:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            answers.write(f"{children.pop(child)}\t{os.waitstatus_to_exitcode(status)}\n")
    answers.flush()


def _end(children: dict[int, str]) -> None:
    """End the children, which mark their runs; those that do not end are killed."""
    for child in children:
        os.kill(child, signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while children and time.monotonic() < until:
        children = {child: path for child, path in children.items() if not os.waitpid(child, os.WNOHANG)[0]}
        time.sleep(PAUSE)
    for child in children:
        os.kill(child, signal.SIGKILL)
