"""The runs of a sweep's trials in the tracking store, which is all that a sweep remembers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..engines import fence
from ..engines.perform import FAILURE
from ..record import makers, metrics
from ..record.stored_model import NOT_KEPT, NOT_STORED
from ..store import search
from . import code
from .rows import Row

#: Tags of a run of a trial: which, as `7` or `7.2`, and its values.
TRIAL, POINT = "repro.trial", "repro.point"
#: Tag of an experiment's runs that belong to another.
PARENT = "mlflow.parentRunId"


class Ledger:
    """Makes the runs of trials, reads what came of them, and keeps what is lost from writing.

    Parameters
    ----------
    experiment : str
        The ID of the experiment.
    parent : str
        The sweep's run.
    """

    def __init__(self, experiment: str, parent: str) -> None:
        import mlflow

        self._client = mlflow.MlflowClient()
        self._experiment = experiment
        self._parent = parent

    def begin(self, number: int, repeat: int, point: Mapping[str, Any]) -> str:
        """Make a run for a run of a trial; one after the other, as many processes at once would collide."""
        name = _name(number, repeat)
        tags = {PARENT: self._parent, TRIAL: name, POINT: json.dumps(dict(point))}
        return str(self._client.create_run(self._experiment, tags=tags, run_name=f"trial {name}").info.run_id)

    def row(self, run_id: str) -> Row | None:
        """Read what came of a run; None if it did not end by itself."""
        return _row(self._client.get_run(run_id))

    def drop(self, run_id: str) -> None:
        """Give up a run whose process was lost."""
        fence.give_up(run_id)

    def replace(self, run_id: str) -> None:
        """Delete a run for which another stands, that has the same result and more beside it."""
        self._client.delete_run(run_id)

    def fail(self, run_id: str, cause: str) -> Row | None:
        """Say of a run that it failed by itself, and could not say so."""
        self._client.set_tag(run_id, FAILURE, cause)
        self._client.set_terminated(run_id, "FAILED")
        return self.row(run_id)

    def runs(self) -> dict[str, Any]:
        """Give the runs of all trials, by ID, the newest first."""
        condition = f"tags.`{PARENT}` = '{self._parent}'"
        return {run.info.run_id: run for run in search.newest_first([self._experiment], condition)}

    def settled(self, known: Mapping[str, str] | None = None) -> dict[tuple[int, int], Row]:
        """Give what ended by itself, and give up all else: of a sweep that was cut short.

        Parameters
        ----------
        known : Mapping of str to str, optional
            The code of its trials. One of other code came to its end while the sweep ended for the edit.
        """
        runs = self.runs()
        found = rows_of(runs.values())
        if known:
            found = {key: row for key, row in found.items() if not code.other(known, _modules(runs[row.run]))}
        for run_id in runs.keys() - {row.run for row in found.values()}:
            self.drop(run_id)
        return found


def rows_of(runs: Iterable[Any]) -> dict[tuple[int, int], Row]:
    """Read what came of the runs of trials, of those that ended by themselves.

    Of two for the same, the last counts, that began first: the other was to have its model, and nobody compared them.
    """
    return {(row.number, row.repeat): row for row in map(_row, runs) if row}


def _modules(run: Any) -> dict[str, str]:
    """Give the digest of each file that a run imported, as its record says."""
    found: dict[str, str] = makers.recorded(run).get("code", {}).get("modules", {})
    return found


def _name(number: int, repeat: int) -> str:
    return f"{number}.{repeat}" if repeat else str(number)


def _row(run: Any) -> Row | None:
    tags = run.data.tags
    number, _, repeat = tags.get(TRIAL, "").partition(".")
    about = int(number or 0), int(repeat or 0), json.loads(tags.get(POINT, "{}")), run.info.run_id
    if run.info.status == "FINISHED" and "repro.result" in tags:
        return Row(*about, run.data.metrics, tags["repro.result"], whole=tags.get(NOT_STORED) != NOT_KEPT)
    if run.info.status == "FAILED" and FAILURE in tags:
        return Row(*about, {}, "", tags[FAILURE])
    return None


def key_of(metric: str | None) -> str:
    """Give the name by which MLflow has a metric; "" of none."""
    return metrics.keys([metric])[metric] if metric else ""
