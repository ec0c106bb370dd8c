"""Whether a record is that of its run, and as it was written."""

from __future__ import annotations

import json
import math
from typing import Any

from .. import conf
from ..common import digest
from ..common.errors import ProjectError
from ..common.exit_codes import NOT_ITS_RUNS
from . import metrics
from .reader import Record
from .schema import RECORD, digest_of_result, files


def contradictions(record: Record, run: Any) -> list[str]:
    """Compare a record with itself and with the run that it belongs to: neither may have been changed since.

    Parameters
    ----------
    record : Record
        The record.
    run : mlflow.entities.Run
        Its run.

    Returns
    -------
    list of str
        One phrase a contradiction.
    """
    content, tags, params = record.content, run.data.tags, run.data.params
    data = {name: entry["digest"] for name, entry in content["data"].items()}
    pairs = {
        "the lock": (digest.of_bytes(record.lock), content["environment"]["lock"]),
        "the uncommitted work": (digest.of_bytes(record.patch) if record.patch else "", content["code"]["patch"]),
        "the digest of the result": (digest_of_result(record.stages), content["result"]),
        "the tag repro.result": (tags.get("repro.result"), content["result"]),
        "the tag repro.commit": (tags.get("repro.commit"), content["code"]["commit"]),
        "the tag repro.environment": (tags.get("repro.environment"), content["environment"]["lock"]),
        **{
            f"the parameter {name}": (params.get(name), str(value)[:6000])
            for name, value in conf.flatten(record.conf).items()
        },
    }
    by_itself = has_digests(content)
    if by_itself or not any(map(math.isnan, record.metrics.values())):  # of which the sign was digested, not recorded
        pairs["the digest of the metrics"] = (digest.of_value(record.metrics), content["stages"]["metrics"])
    if "repro.data" in tags or "repro.reproduces" not in tags:  # replays of 0.4 and before have none
        pairs["the tag repro.data"] = (json.loads(tags.get("repro.data", "{}")), data)
    if by_itself:
        found = files(record.folder)
        names = [*content["files"], *found]
        pairs |= {f"the file {name}": (found.get(name, "gone"), content["files"].get(name, "none")) for name in names}
    if by_itself or "repro.record" in tags:
        pairs["the tag repro.record"] = (tags.get("repro.record"), digest.of_file(record.folder / RECORD))
    wrong = [f"{what} is {found!r}, recorded {other!r}" for what, (found, other) in pairs.items() if found != other]
    return [*wrong, *metrics.contradictions(record.metrics, run, overtaken=not by_itself)]


def require_own(record: Record, run: Any) -> None:
    """Refuse a record that is not its run's: nothing that is made of it would prove anything.

    Raises
    ------
    ProjectError
        With exit code 1, that of "different".
    """
    if wrong := contradictions(record, run):
        lines = "\n".join(f"  {phrase}" for phrase in wrong[:8])
        raise ProjectError(
            f"different: the record of run {record.name} is not that run's; one of them was changed.\n{lines}",
            "Restore the run and its artifacts from a backup of the store, or run it anew.",
            NOT_ITS_RUNS,
        )


def has_digests(content: dict[str, Any]) -> bool:
    """Tell whether a record holds the digests of its own files, as it does from schema 3 on."""
    return bool(content["schema"] >= 3)
