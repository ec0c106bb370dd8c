"""`just run`: an entry point of MLproject, executed through MLflow in an environment that is what the lock says."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from .. import conf
from ..common import quiet
from ..common.errors import ProjectError
from ..common.exit_codes import FAILED, USAGE
from ..common.files import absolute
from ..common.interrupts import Interrupts
from ..common.project import MAIN, ROOT
from ..common.scratch import temporary_folder
from ..environment import mlflow_environment
from ..randomness import launch
from ..store import joining, liveness, tracking
from .active_run import cut_short
from .garbage_collection import Collector


class Place(Protocol):
    """Where an entry point is executed: in an environment of MLflow's, or in a container."""

    #: Whether it is made ready before the store was asked: a store that refuses is then waited for in vain.
    early: bool

    def ready(self) -> object:
        """Make sure that it is there, and what the lock says."""

    def stop(self) -> None:
        """Let nothing be made ready any more, as nobody waits for it."""

    def execute(self, entry_point: str, parameters: dict[str, str], variables: dict[str, str], info: Any) -> int:
        """Execute it for a run that was made for it, and end that; give its exit code."""


def run(entry_point: str, parameters: dict[str, str], place: Place | None = None, **more: str) -> str:
    """Execute an entry point of MLproject in its locked environment, and give the run's ID.

    Unlike a bare `mlflow run` this refuses a half-built or tampered environment, lets two cold runs
    build one after the other, and ends a run whose environment fails as FAILED.

    Parameters
    ----------
    entry_point : str
        Its name.
    parameters : dict of str to str
        What it is given.
    place : Place, optional
        Where; by default in an environment of MLflow's.
    **more : str
        Environment variables on top of those of the launch environment.

    Raises
    ------
    ProjectError
        If the environment cannot be built or the run fails.
    """
    place = place or Environment()
    require_known(entry_point, parameters)
    own = settings(parameters)
    variables = launch.variables(own.get("seed"), own.get("threads")) | more  # type: ignore[arg-type]
    last = launch.is_command()
    with Collector(last), ThreadPoolExecutor(1) as builder, _stopping(place):
        early = builder.submit(place.ready) if place.early else None
        tracking.require_store()
        is_new = (store := tracking.database()) is not None and not store.exists()
        import mlflow
        from mlflow.projects.utils import _create_run

        with Interrupts(last) as interrupts, liveness.held() as alive:
            # A new store's tables take as long to make as an environment. Any other may refuse, so it is asked first.
            early = early or (builder.submit(place.ready) if is_new else None)
            active = _create_run(str(ROOT), tracking.open_experiment(), str(ROOT), None, entry_point, parameters)
            run_id = str(active.info.run_id)
            with cut_short(run_id, alive, interrupts, partial(_end, run_id)):
                for name, value in alive.items():
                    mlflow.MlflowClient().set_tag(run_id, name, value)
                interrupts.allow()
                (early or builder.submit(place.ready)).result()
                code = place.execute(entry_point, parameters, variables | {joining.VOUCHED: run_id}, active.info)
    if code:
        said = f"run {run_id} failed; its own message stands above."
        raise ProjectError(said, "Mend that, then run it again.", code)
    return run_id


class Environment:
    """MLflow's own way, in an environment that is what the lock says."""

    early = False

    def ready(self) -> object:
        """Build it, or look at the one that is there."""
        return mlflow_environment.ready()

    def stop(self) -> None:
        """Let it be finished, for the next run."""

    def execute(self, entry_point: str, parameters: dict[str, str], variables: dict[str, str], info: Any) -> int:
        """Let MLflow execute an entry point; where that fails it marks the run as FAILED.

        MLflow makes a folder for downloads in every run, and would leave it behind. Of a path it takes what comes after
        a # for something else.
        """
        import mlflow
        from mlflow.exceptions import ExecutionException

        with temporary_folder("run") as storage, contextlib.chdir(ROOT), _environment(variables):
            if quiet.VERBOSE not in os.environ:
                logging.getLogger("mlflow").setLevel(logging.WARNING)
            try:
                mlflow.projects.run(
                    ".",
                    entry_point,
                    parameters=parameters,
                    experiment_id=info.experiment_id,
                    env_manager="uv",
                    run_id=info.run_id,
                    storage_dir=str(storage),
                )
            except ExecutionException:
                return FAILED
        return 0


@contextlib.contextmanager
def _stopping(place: Place) -> Iterator[None]:
    """Do not wait for a place of which no run has need any more."""
    try:
        yield
    except BaseException:
        place.stop()
        raise


def _end(run_id: str, status: str) -> None:
    """End a run to which `mlflow run` has not come, or which MLflow marked as FAILED since it was interrupted."""
    import mlflow

    client = mlflow.MlflowClient()
    if client.get_run(run_id).info.status in {"RUNNING", "FAILED"}:
        client.set_terminated(run_id, status)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for what is started meanwhile."""
    former = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def overrides(seed: str, text: str) -> tuple[str, ...]:
    """Turn the parameters `seed` and `set` of MLproject into overrides of the conf.

    Parameters
    ----------
    seed : str
        A number, or "conf" for the conf's own.
    text : str
        `key=value` settings, separated by spaces; quotes as in a shell.
    """
    try:
        settings = shlex.split(text)
    except ValueError as error:
        raise ProjectError(
            f"`set` cannot be read: {error}.", "-P set='test_fraction=0.3 threads=2'", exit_code=USAGE
        ) from error
    return (*settings, *([] if seed == "conf" else [f"seed={seed}"]))


def require_known(entry_point: str, parameters: dict[str, str]) -> None:
    """Refuse what MLproject does not name: MLflow would run a script of that name, or pass the parameter on."""
    known = joining.entry_points()
    if entry_point not in known:
        raise ProjectError(
            f"MLproject has no entry point {entry_point!r}.", f"Choose from: {', '.join(known)}.", exit_code=USAGE
        )
    own = known[entry_point].parameters
    strange = [name for name in parameters if name not in own]
    if strange:
        raise ProjectError(
            f"the entry point {entry_point!r} has no parameter {', '.join(strange)}.",
            f"It has: {', '.join(own)}. What the conf names is changed with --set KEY=VALUE.",
            exit_code=USAGE,
        )


def config(parameters: Mapping[str, str]) -> Path:
    """Name the conf file that an entry point is given; by default that of its step."""
    return absolute(parameters.get("config") or f"confs/{parameters.get('name', MAIN)}.yaml")


def settings(parameters: Mapping[str, str]) -> dict[str, object]:
    """Load the settings that an entry point is given, as far as they say what must be set before it starts."""
    return conf.load(config(parameters), overrides(parameters.get("seed", "conf"), parameters.get("set", "")))
