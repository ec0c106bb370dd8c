"""What is kept of a verdict: the replay as a run, and the tags of the original."""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import conf
from ..common import digest, exit_codes, terminal
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED, NOT_ITS_RUNS
from ..record import description, metrics
from ..record.schema import RECORD
from ..store import tracking
from ..training.active_run import begun
from . import replay_image
from .compare import MEANINGS, Comparison

#: Verdicts without a replay, by the exit code of the error that says why.
REFUSALS = {CANNOT_BE_TRIED: exit_codes.NOT_REPRODUCIBLE, NOT_ITS_RUNS: exit_codes.DIFFERENT}


@contextlib.contextmanager
def as_far_as_allowed() -> Iterator[None]:
    """Keep in the store what it takes: to whom it gives only reading, or nothing any more, a verdict is one too."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        store = tracking.public(tracking.store_uri())
        why = str(error).replace(tracking.store_uri(), store).strip().partition("\n")[0][:300]
        terminal.notice(f"the verdict could not be kept in {store}: {why}")


def keep(comparison: Comparison, report: Path, log: Path) -> str:
    """Log a replay as a run and note the verdict on the original, as far as the store allows.

    Returns
    -------
    str
        The run of the replay; empty where the store could not keep it.
    """
    replayed = ""
    with as_far_as_allowed():
        replayed = _log(comparison, report, log)
        page = description.link(description.PAGE, comparison.a.run.info.experiment_id, replayed, description.PAGE)
        said = f"{MEANINGS[comparison.verdict]} More in {page}."
        _tag(comparison.a.run, comparison.verdict, said, replayed)
    return replayed


def refuse(run: Any, error: ProjectError) -> None:
    """Note on a run that it cannot be reproduced, or is another; that it cannot here does not undo an earlier proof."""
    verdict = REFUSALS.get(error.exit_code)
    if verdict and not (verdict == exit_codes.NOT_REPRODUCIBLE and "repro.verdict" in run.data.tags):
        with as_far_as_allowed():
            _tag(run, verdict, description.plain(error.cause.partition("\n")[0][:300]))


def _log(comparison: Comparison, report: Path, log: Path) -> str:
    """Log a replay as one run of today's store: its record, settings, metrics and the report."""
    import mlflow

    original, record, content = comparison.a, comparison.b, comparison.b.content
    reproduces = {"repro.reproduces": original.name}
    # Interrupts are never allowed: a replay is kept whole.
    with begun(False, f"reproduces {original.name[:8]}", reproduces, original.run.info.experiment_id) as (run, _):
        mlflow.log_params(conf.flatten(record.conf))
        metrics.log(run.id, record.metrics)
        mlflow.log_artifacts(str(record.folder), "record")
        plots = record.folder.parent / "plots"
        if plots.exists():
            mlflow.log_artifacts(str(plots), "plots")
        mlflow.log_artifact(str(report))
        mlflow.log_artifact(str(log))
        mlflow.set_tags(
            {
                "repro.project": content["project"],
                "repro.step": record.step,
                "repro.seed": record.conf["seed"],
                "repro.commit": content["code"]["commit"],
                "repro.dirty": content["code"]["dirty"],
                "repro.environment": content["environment"]["lock"],
                "repro.data": json.dumps({name: entry["digest"] for name, entry in sorted(content["data"].items())}),
                "repro.record": digest.of_file(record.folder / RECORD),
                "repro.result": content["result"],
                "repro.verdict": comparison.verdict,
                **description.of_replay(original.run, comparison.verdict),
                **({"repro.image": image["image"]} if (image := replay_image.of(record)) else {}),
            }
        )
    return run.id


def _tag(run: Any, verdict: str, said: str, replayed: str = "") -> None:
    """Note a verdict on a run, with what its description is to say of it."""
    import mlflow

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    client = mlflow.MlflowClient()
    tags = {"repro.verdict": verdict, "repro.verified_by": replayed, "repro.verified_at": now}
    described = client.get_run(run.info.run_id).data.tags  # somebody may have written there meanwhile
    for name, value in (tags | description.judged(described, f"**{verdict}** ({now[:10]}): {said}")).items():
        client.set_tag(run.info.run_id, name, value)
    print(f"tagged repro.verdict = {verdict!r}", file=sys.stderr)
