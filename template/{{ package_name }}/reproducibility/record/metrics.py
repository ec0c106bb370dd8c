"""A run's metrics: exact in its record, and as MLflow's stores keep them."""

from __future__ import annotations

import math
import posixpath
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: So many MLflow takes at once.
BATCH = 500


def exact(metrics: Mapping[Any, Any]) -> dict[str, float]:
    """Turn metrics of any numeric type into what a record can hold: of NaN neither sign nor payload.

    Raises
    ------
    TypeError
        If one is no number.
    """
    return {str(name): float.fromhex(float(value).hex()) for name, value in metrics.items()}


def same(one: float | None, other: float | None) -> bool:
    """Tell whether two metrics are the same number, or both not a number."""
    return one == other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))


def keys(names: Iterable[str]) -> dict[str, str]:
    """Give for each name the one that MLflow can take: of signs other than letters and digits it takes few."""
    found: dict[str, str] = {}
    for name in names:
        key = re.sub(r"[^/\w.\- :]", "_", name)[:240]
        if posixpath.normpath(key) != key or key.startswith(("/", "..")) or key == ".":
            key = key.replace("/", "_").replace(".", "_") or "_"
        while key in found.values():
            key += "_"
        found[name] = key
    return found


def log(run_id: str, metrics: dict[str, float]) -> None:
    """Make each the latest value of its name, whatever the training has logged under that name.

    The latest is that of the highest step, and at one step that of the latest time.
    """
    import mlflow
    from mlflow.entities import Metric

    client, named, now = mlflow.MlflowClient(), keys(metrics), int(time.time() * 1000)
    logged = {metric.key: metric for metric in client.get_run(run_id).data.to_proto().metrics}
    batch = []
    for name, value in metrics.items():
        last = logged.get(named[name])
        if last is None:
            batch.append(Metric(named[name], value, now, 0))
        elif not same(last.value, value):
            batch.append(Metric(named[name], value, max(now, last.timestamp + 1), last.step))
    for start in range(0, len(batch), BATCH):
        client.log_batch(run_id, batch[start : start + BATCH])


def contradictions(recorded: dict[str, float], run: Any, overtaken: bool) -> Iterator[str]:
    """Name the metrics of which a run has another value than its record.

    Parameters
    ----------
    recorded : dict of str to float
        Those of the record.
    run : mlflow.entities.Run
        The run.
    overtaken : bool
        Whether the harness that wrote the record logged them at step 0, where later steps of the training hid them.
    """
    named = keys(recorded)
    for name, value in recorded.items():
        # SQL knows no infinity: MLflow keeps the largest number in its place.
        kept = math.copysign(sys.float_info.max, value) if math.isinf(value) else value
        found = run.data.metrics.get(named[name])
        if not (same(found, value) or found == kept or (overtaken and _is_hidden(run.info.run_id, named[name], kept))):
            yield f"the metric {name} is {found!r}, recorded {value!r}"


def _is_hidden(run_id: str, key: str, value: float) -> bool:
    import mlflow

    history = mlflow.MlflowClient().get_metric_history(run_id, key)
    own = max((entry for entry in history if entry.step == 0), key=lambda entry: entry.timestamp, default=None)
    return own is not None and any(entry.step > 0 for entry in history) and same(own.value, value)
