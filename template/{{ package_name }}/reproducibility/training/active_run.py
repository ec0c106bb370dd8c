"""The run of the store that this process writes: MLflow's active one, whatever a training does to MLflow meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from ..common import terminal
from ..common.errors import ProjectError
from ..common.interrupts import Interrupts
from ..record import description
from ..store import joining, liveness, tracking

#: Set by a pipeline for its steps: its own run.
PIPELINE = "REPRO_PIPELINE"
#: Set for a run that a sweep or a pipeline made for this process: one that is deleted was given up, and not by mistake.
ASKED_FOR = "REPRO_ASKED_FOR"


class ActiveRun:
    """A run that goes on, by what the store says of it."""

    def __init__(self, info: Any) -> None:
        import mlflow

        self.id = str(info.run_id)
        self.experiment_id = info.experiment_id
        self.uri = mlflow.get_tracking_uri()

    def regain(self) -> None:
        """Make it MLflow's active run again, in its store and experiment, and end those that were left open over it.

        A training may end it, start others, or point MLflow elsewhere: all that is logged after it is this run's.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        mlflow.flush_async_logging()
        while (open_run := mlflow.active_run()) and open_run.info.run_id != self.id:
            with contextlib.suppress(MlflowException):  # of a store that is not there any more
                mlflow.end_run()
        if mlflow.get_tracking_uri() != self.uri:
            mlflow.set_tracking_uri(self.uri)
        mlflow.set_experiment(experiment_id=self.experiment_id)
        client = mlflow.MlflowClient()
        run = client.get_run(self.id)
        if run.info.lifecycle_stage == "deleted" and ASKED_FOR in os.environ:
            raise ProjectError(f"run {self.id} was given up by who asked for it.", "")
        if run.info.lifecycle_stage == "deleted":
            terminal.notice(f"run {self.id} was deleted while it went on; it is restored.")
            client.restore_run(self.id)
        if mlflow.active_run() is None:
            mlflow.start_run(run_id=self.id)

    def end(self, status: str) -> None:
        """End it, whatever became of it."""
        import mlflow

        self.regain()
        description.ended(status)
        mlflow.end_run(status)


@contextlib.contextmanager
def begun(
    last: bool, name: str | None, tags: dict[str, str], experiment_id: str | None = None
) -> Iterator[tuple[ActiveRun, Interrupts]]:
    """Begin a run, or join the one that `mlflow run` has made for this process, and end it whatever happens.

    Parameters
    ----------
    last : bool
        Whether the process ends with this run; see `Interrupts`.
    name : str or None
        The run's name in MLflow, which invents one otherwise.
    tags : dict of str to str
        Its first tags.
    experiment_id : str, optional
        Where it belongs; by default the experiment that is connected, or that of the run which is joined.

    Yields
    ------
    tuple of (ActiveRun, Interrupts)
        Which are held, until they are allowed.

    Raises
    ------
    ProjectError
        If another run is active in this thread: that of a notebook.
    """
    import mlflow

    if other := mlflow.active_run():
        raise ProjectError(f"run {other.info.run_id} is still active in MLflow.", "mlflow.end_run()      first")
    if parent := os.environ.get(PIPELINE):
        tags = tags | {"mlflow.parentRunId": parent, "repro.pipeline": parent}
    with Interrupts(last) as interrupts, liveness.held() as alive:
        if invitation := joining.invited():
            mlflow.set_experiment(experiment_id=invitation.info.experiment_id)
            started = mlflow.start_run(run_id=invitation.info.run_id, run_name=name, tags=alive | tags)
            joining.decline()
        else:
            started = mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=alive | tags)
        run = ActiveRun(started.info)
        with cut_short(run.id, alive, interrupts, run.end):
            yield run, interrupts
        mlflow.end_run()


@contextlib.contextmanager
def cut_short(
    run_id: str, alive: dict[str, str], interrupts: Interrupts, end: Callable[[str], object]
) -> Iterator[None]:
    """End a run as KILLED or FAILED if an interrupt or an error cuts it short; hold signals from then on.

    Parameters
    ----------
    run_id : str
        The run.
    alive : dict of str to str
        Its tag of `liveness.held`.
    interrupts : Interrupts
        Held when it was begun, and again when it is to be ended.
    end : callable
        Ends it with a status.
    """
    try:
        yield
        interrupts.hold()
    except BaseException as error:
        interrupts.hold()
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        with liveness.ending(run_id, status, alive):
            end(status)
        raise


@contextlib.contextmanager
def joined(run_id: str) -> Iterator[ActiveRun]:
    """Write to a run that another process has begun and will end: the one that started this process."""
    import mlflow

    tracking.require_store()
    info = mlflow.get_run(run_id).info
    mlflow.set_experiment(experiment_id=info.experiment_id)
    with mlflow.start_run(run_id=run_id):
        yield ActiveRun(info)
