"""`just run --container`: an entry point of MLproject, executed in the image of this very code."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from .. import conf
from ..common import quiet, shell
from ..common.exit_codes import INTERRUPTED
from ..common.project import ROOT
from ..common.scratch import temporary_folder
from ..containers import builders, image, start
from ..containers.engine import find
from ..containers.start import Mount
from ..datasets import manifest, retrieval
from ..source import capture
from ..store import liveness, tracking
from . import just_run, mounts

#: Of this process, what names a run, or what the launch environment decides.
FOREIGN = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "PYTHONHASHSEED")


class Container:
    """Where `just run --container` executes entry points.

    Parameters
    ----------
    output : file, optional
        Where their results go; by default to the terminal, as their progress always does.

    Raises
    ------
    ProjectError
        If there is no engine, no Dockerfile or no commit: what cannot be had needs no run to say so.
    """

    early = True

    def __init__(self, output: IO[Any] | None = None) -> None:
        self.output = output
        self.base = image.default_base()
        self.engine = find()
        self.code = capture.capture()
        image.labels_of(self.code, self.base)  # there are none without a commit

    def ready(self) -> object:
        """Make sure that the image of the code is there."""
        self.image = image.of_project(self.engine, code=self.code, base=self.base)
        return self.image

    def stop(self) -> None:
        """End the builder of the image, if it is at work."""
        builders.stop()

    def execute(self, entry_point: str, parameters: dict[str, str], variables: dict[str, str], info: Any) -> int:
        """Execute the command that MLflow makes of an entry point, and end the run unless the command has."""
        import mlflow
        from mlflow.projects._project_spec import load_project
        from mlflow.projects.utils import get_run_env_vars
        from mlflow.utils.databricks_utils import get_databricks_env_vars

        client = mlflow.MlflowClient()
        uri, config = tracking.store_uri(), just_run.config(parameters)
        variables = {
            **start.environment(shell.child(*FOREIGN)),
            **get_databricks_env_vars(tracking_uri=uri),
            **get_run_env_vars(info.run_id, info.experiment_id),
            "MLFLOW_TRACKING_URI": uri,
            liveness.HELD: client.get_run(info.run_id).data.tags[liveness.TAG],
            **variables,
            **quiet.told(),
        }
        _fetch(just_run.settings(parameters))
        with temporary_folder("run") as storage, contextlib.chdir(ROOT):
            known = load_project(str(ROOT)).get_entry_point(entry_point)
            given = parameters | ({"config": str(mounts.inside(config))} if "config" in parameters else {})
            values, _ = known.compute_parameters(given, str(storage))
            paths = [Path(value) for name, value in values.items() if known.parameters[name].type == "path"]
            code = start.run(
                self.engine,
                self.image,
                ["bash", "-c", known.compute_command(given, str(storage))],  # as MLflow executes it
                variables,
                self.code,
                [
                    *mounts.data(),
                    *mounts.left_out(self.code),
                    *([] if mounts.holds(self.code, config) else [Mount(config, mounts.inside(config))]),
                    *mounts.store(info.artifact_uri),
                    *(Mount(path) for path in paths),
                ],
                output=self.output,
            )
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if client.get_run(info.run_id).info.status == "RUNNING":  # a command that knows nothing of runs
            client.set_terminated(info.run_id, "FAILED" if code else "FINISHED")
        return code


def _fetch(settings: Mapping[str, Any]) -> None:
    """Fetch the missing datasets that a conf names: in a container data can only be read."""
    named = {str(value) for value in conf.flatten(dict(settings)).values()}
    for entry in manifest.read_manifest().values():
        if entry.name in named and not entry.file.exists():
            retrieval.restore(entry)
