"""`just run`: an entry point of MLproject, executed through MLflow in an environment that is what the lock says."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from .. import conf
from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.files import absolute
from ..common.interrupts import Interrupts
from ..common.project import ROOT
from ..common.scratch import temporary_folder
from ..environment import mlflow_environment
from ..randomness import launch
from ..store import joining, liveness, tracking
from .active_run import cut_short
from .garbage_collection import Collector


def run(entry_point: str, parameters: dict[str, str]) -> str:
    """Execute an entry point of MLproject in its locked environment, and give the run's ID.

    Unlike a bare `mlflow run` this refuses a half-built or tampered environment, lets two cold runs
    build one after the other, and ends a run whose environment fails as FAILED.

    Raises
    ------
    ProjectError
        If the environment cannot be built or the run fails.
    """
    _require_known(entry_point, parameters)
    settings = _settings(parameters)
    variables = launch.variables(settings.get("seed"), settings.get("threads"))  # type: ignore[arg-type]
    last = launch.is_command()
    with Collector(last):
        tracking.require_store()
        is_new = (store := tracking.database()) is not None and not store.exists()
        import mlflow
        from mlflow.projects.utils import _create_run

        with Interrupts(last) as interrupts, liveness.held() as alive, ThreadPoolExecutor(1) as builder:
            # A new store's tables take as long to make as an environment. Any other may refuse, so it is asked first.
            early = builder.submit(mlflow_environment.ready) if is_new else None
            active = _create_run(str(ROOT), tracking.open_experiment(), str(ROOT), None, entry_point, parameters)
            run_id = str(active.info.run_id)
            with cut_short(run_id, alive, interrupts, partial(_end, run_id)):
                for name, value in alive.items():
                    mlflow.MlflowClient().set_tag(run_id, name, value)
                interrupts.allow()
                (early or builder.submit(mlflow_environment.ready)).result()
                succeeded = _execute(entry_point, parameters, variables, active.info)
    if not succeeded:
        raise ProjectError(f"run {run_id} failed; its own message stands above.", "Mend that, then run it again.")
    return run_id


def _execute(entry_point: str, parameters: dict[str, str], variables: dict[str, str], info: Any) -> bool:
    """Let MLflow execute an entry point in its environment, and tell whether that succeeded; if not, the run is FAILED.

    MLflow makes a folder for downloads in every run, and would leave it behind. Of a path it takes what comes after a #
    for something else.
    """
    import mlflow
    from mlflow.exceptions import ExecutionException

    with (
        temporary_folder("run") as storage,
        contextlib.chdir(ROOT),
        _environment(variables | {joining.VOUCHED: info.run_id}),
    ):
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
            return False
    return True


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


def _require_known(entry_point: str, parameters: dict[str, str]) -> None:
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


def _settings(parameters: dict[str, str]) -> dict[str, object]:
    config: Path = absolute(parameters.get("config", "confs/train.yaml"))
    return conf.load(config, overrides(parameters.get("seed", "conf"), parameters.get("set", "")))
