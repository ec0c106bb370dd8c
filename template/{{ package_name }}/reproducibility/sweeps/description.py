"""What a sweep's run says of itself: all from which its plan follows, as the artifact `sweep/sweep.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from ..common import digest, strict_yaml
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED, NOT_ITS_RUNS
from ..record import description as note
from ..record import lookup
from ..store import tracking
from . import definition
from .definition import Sweep

#: Tag of a sweep's run: the digest of its description.
TAG = "repro.sweep"
#: And the run of its best trial.
BEST = "repro.best"
FILE, BEST_CONF = "sweep/sweep.yaml", "sweep/best.yaml"
SCHEMA = 1


@dataclass(frozen=True)
class Description:
    """All from which the plan of a sweep follows, together with the results of its trials.

    Parameters
    ----------
    sweep : dict
        What confs/sweep.yaml said.
    base : dict
        The conf that the trials change.
    step : str
        The step of the project.
    standing : dict of str to str
        The runs that stand for the steps of which it takes something.
    optuna : str
        The version of Optuna.
    lock : str
        The digest of constraints.txt.
    schema : int
        The version of what stands here.
    """

    sweep: dict[str, Any]
    base: dict[str, Any]
    step: str
    standing: Mapping[str, str]
    optuna: str
    lock: str
    schema: int = SCHEMA

    @property
    def definition(self) -> Sweep:
        """The sweep."""
        return definition.parse(self.sweep, FILE)

    def text(self) -> str:
        """Write it down."""
        return yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True)

    @property
    def trials(self) -> str:
        """How many there are, and how they are planned."""
        sweep = self.definition
        each = f", {sweep.repeats} {sweep.repeated} each" if sweep.repeats > 1 else ""
        return f"{sweep.count:,} by {sweep.sampler}, {sweep.batch} planned together{each}"

    def note(self, verdict: str, best: str = "") -> dict[str, str]:
        """Give the tag by which MLflow's UI says what the sweep is, which is the active run.

        Parameters
        ----------
        verdict : str
            What is to be said of its result.
        best : str
            The run of its best trial, once that is known.
        """
        import mlflow

        sweep, experiment = self.definition, mlflow.active_run().info.experiment_id
        facts = {"Trials": self.trials}
        facts |= {"Metric": f"{sweep.direction} `{sweep.metric}`"} if sweep.metric else {}
        facts |= {"Best": f"{note.link(f'run {best[:8]}', experiment, best)}, `sweep/best.yaml`"} if best else {}
        facts["Environment"] = f"`constraints.txt` `{self.lock[:19]}`, Optuna {self.optuna}"
        return note.of_group(verdict, **facts)

    def digest(self) -> str:
        """Give the digest of what is written down."""
        return digest.of_bytes(self.text().encode())

    @classmethod
    def of(cls, run: Any) -> Description:
        """Read what a sweep's run says of itself.

        Raises
        ------
        ProjectError
            With exit code 1, if that was changed in the store; with 2, if it is not there, or of a later release.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        run_id = run.info.run_id
        if TAG not in run.data.tags:
            raise ProjectError(f"run {run_id} is no sweep.", "just runs      lists them; a sweep's name is `sweep`.")
        try:
            text = mlflow.artifacts.load_text(f"runs:/{run_id}/{FILE}")
        except (MlflowException, OSError) as error:
            raise ProjectError(
                f"{FILE} of the sweep {run_id} cannot be had: {str(error).partition(chr(10))[0][:200]}",
                "Restore the store's artifacts from a backup.",
                CANNOT_BE_TRIED,
            ) from error
        if digest.of_bytes(text.encode()) != run.data.tags[TAG]:
            raise ProjectError(
                f"{FILE} of the sweep {run_id} was changed in the store.",
                "Restore the store's artifacts from a backup.",
                NOT_ITS_RUNS,
            )
        content = strict_yaml.parse(text)
        if content["schema"] != SCHEMA:
            raise ProjectError(
                f"the sweep {run_id} was made by a later release of the template.",
                "just template-update",
                CANNOT_BE_TRIED,
            )
        return cls(**content)


def best_of(run_id: str) -> str:
    """Give the run of the best trial of a sweep."""
    tracking.connect()
    run = lookup.get_run(run_id)
    if TAG in run.data.tags:
        require_models(run)
    if BEST not in run.data.tags:
        raise ProjectError(
            f"run {run.info.run_id} has no best trial: it is no sweep, or is not done.",
            f"just runs      lists sweeps; to go on with one: just sweep --resume {run.info.run_id}",
        )
    return str(run.data.tags[BEST])


def require_models(run: Any) -> None:
    """Refuse a sweep in whose trials parts are held out in turn.

    Raises
    ------
    ProjectError
        With the command that trains a model of all rows.
    """
    if Description.of(run).definition.folds > 1:
        raise ProjectError(
            f"the trials of the sweep {run.info.run_id} are folds, of which none has a model of all rows.",
            f"just train --config runs:/{run.info.run_id}/{BEST_CONF}",
        )
