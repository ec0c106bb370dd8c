"""Whether a record is that of its run, and as it was written."""

from __future__ import annotations

import json
import math

from .. import conf
from ..common import digest
from ..common.errors import ProjectError
from ..common.exit_codes import NOT_ITS_RUNS
from . import metrics
from .schema import LOCK, PATCH, RECORD, Record, digest_of_result


def contradictions(record: Record) -> list[str]:
    """Compare a record with itself and with its run: neither may have been changed since. One phrase each."""
    content, tags, params = record.content, record.run.data.tags, record.run.data.params
    data = {name: entry["digest"] for name, entry in sorted(content["data"].items())}
    found = record.digests
    pairs = {
        "the lock": (found[LOCK], content["environment"]["lock"]),
        "the uncommitted work": (found.get(PATCH, ""), content["code"]["patch"]),
        "the digest of the result": (digest_of_result(record.stages, content.get("outputs", ())), content["result"]),
        "the tag repro.result": (tags.get("repro.result"), content["result"]),
        "the tag repro.commit": (tags.get("repro.commit"), content["code"]["commit"]),
        "the tag repro.environment": (tags.get("repro.environment"), content["environment"]["lock"]),
        **{
            f"the parameter {name}": (params.get(name), str(value)[:6000])
            for name, value in conf.flatten(record.conf).items()
        },
    }
    by_itself = content["schema"] >= 3  # it holds the digests of its own files
    if by_itself or not any(map(math.isnan, record.metrics.values())):  # of which the sign was digested, not recorded
        pairs["the digest of the metrics"] = (digest.of_value(record.metrics), record.stages.get("metrics"))
    if "repro.data" in tags or "repro.reproduces" not in tags:  # replays of 0.4 and before have none
        pairs["the tag repro.data"] = (tags.get("repro.data", "{}"), json.dumps(data))
    if by_itself:
        names = [name for name in {**content["files"], **found} if name != RECORD]
        pairs |= {f"the file {name}": (found.get(name, "gone"), content["files"].get(name, "none")) for name in names}
    if by_itself or "repro.record" in tags:
        pairs["the tag repro.record"] = (tags.get("repro.record"), found[RECORD])
    wrong = [f"{what} is {is_!r}, recorded {was!r}" for what, (is_, was) in pairs.items() if is_ != was]
    return [*wrong, *metrics.contradictions(record.metrics, record.run, overtaken=not by_itself)]


def require_own(record: Record) -> None:
    """Refuse a record that is not its run's: nothing that is made of it would prove anything.

    Raises
    ------
    ProjectError
        With exit code 1, that of "different".
    """
    if wrong := contradictions(record):
        lines = "\n".join(f"  {phrase}" for phrase in wrong[:8])
        raise ProjectError(
            f"different: the record of run {record.name} is not that run's; one of them was changed.\n{lines}",
            "Restore the run and its artifacts from a backup of the store, or run it anew.",
            NOT_ITS_RUNS,
        )
