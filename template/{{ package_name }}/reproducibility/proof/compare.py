"""Two runs side by side: where they part, what differs between them, and what that means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..common.exit_codes import DIFFERENT, EQUIVALENT, IDENTICAL
from ..modeling.tree import differing
from ..record import metrics
from ..record.schema import Record
from .differences import Difference, differences

#: Since this schema a model's content is a tree of digests.
PARTS_SCHEMA = 3
#: Differences of the machine, and of the system in an image, which no checkout and no lock can take back.
HARDWARE = ("cpu", "gpu", "libc", "machine", "image")
#: Differences that move the last bits only.
ROUNDING = ("threads", "processes", "precision", "cpu", "gpu", "packages", "libc", "machine", "image", "launch")
MEANINGS = {
    IDENTICAL: "every stage is equal to the last bit.",
    EQUIVALENT: "not to the last bit, but within what other hardware explains.",
    DIFFERENT: "they are not the same result.",
}
#: What to look at first where runs part, by the stage in which they do.
HINTS = {
    "data": "the file changed between the two runs. Does the training itself write it?",
    "input": "another run made it otherwise: just reproduce RUN_ID --chain finds the step that parts.",
    "weights": (
        "the model was given the same rows and learned something else. Is there an estimator without "
        "`random_state=int(run.rng(…).integers(2**32))`, or with more threads (n_jobs) than add up in a fixed order?"
    ),
    "only weights": (
        "the models answer alike and hold something else: an address, a clock or a counter perhaps, which is no part "
        "of the result. Result(…, adapter=…) says what is: the README's part on models of your own."
    ),
    "probe": "one model predicts in two ways: threads, or random numbers, while it predicts.",
    "predictions": "one model predicts in two ways: predict with n_jobs=1, and without random numbers.",
    "metrics": "equal predictions, other metrics: is a clock, a duration or a random number among them?",
    "": (
        "a stage before the model: random numbers from another place than run.rng(…) (an unseeded "
        "np.random.default_rng(), uuid, os.urandom), or the order of a set or of a folder's files: sort it. A clock?"
    ),
}


class Row(NamedTuple):
    """A stage by its digests, or a metric by its values, in both runs; None where one has none."""

    name: str
    a: Any
    b: Any
    equal: bool


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Parameters
    ----------
    a, b : Record
        Of a reproduction, the original and the replay.
    stages, metrics : list of Row
        The stages in the order in which the runs made them, and the metrics by name.
    differences : list of Difference
        All that differs between the two records, the most likely cause first.
    verdict : str
        What b is as a reproduction of a: one of `MEANINGS`.
    remarks : list of str
        Where they part and what to look at; empty where they are identical.
    """

    a: Record
    b: Record
    stages: list[Row]
    metrics: list[Row]
    differences: list[Difference]
    verdict: str
    remarks: list[str]


def compare(a: Record, b: Record) -> Comparison:
    """Put two runs side by side, and judge b as a reproduction of a."""
    stages = compare_stages(a, b)
    apart = [row.name for row in stages if not row.equal]
    found = _by_likelihood(a, b, bool(apart))
    explained = any(difference.cause in HARDWARE for difference in found)
    verdict = IDENTICAL if not apart else EQUIVALENT if explained and within_tolerance(a, b) else DIFFERENT
    values = [(name, a.metrics.get(name), b.metrics.get(name)) for name in sorted({**a.metrics, **b.metrics})]
    rows = [Row(name, one, other, metrics.same(one, other)) for name, one, other in values]
    return Comparison(a, b, stages, rows, found, verdict, _remarks(a, b, stages, found) if apart else [])


def compare_stages(a: Record, b: Record) -> list[Row]:
    """Compare the digests of the stages, in the order in which the runs made them."""
    names = dict.fromkeys([*a.stages, *b.stages])
    if len({side.content["schema"] >= PARTS_SCHEMA for side in (a, b)}) > 1:
        names.pop("weights", None)  # the content of models was another then; answers and metrics still tell
    digests = [(name, a.stages.get(name), b.stages.get(name)) for name in names]
    return [Row(name, one, other, one == other) for name, one, other in digests]


def worst(verdicts: Iterable[str]) -> str:
    """Give the worst of verdicts."""
    return max(verdicts, key=[*MEANINGS].index)


def few(details: Sequence[str]) -> str:
    """Name the first few details, and how many more there are."""
    return "; ".join(details[:4]) + (f"; and {len(details) - 4} more" if len(details) > 4 else "")


def _by_likelihood(a: Record, b: Record, parted: bool) -> list[Difference]:
    """Give what differs, the most likely cause first.

    A dataset that differs comes first, since nothing after it can be equal. Metrics that differ by rounding only speak
    for what moves the last bits; larger differences speak for seed, settings and code.
    """
    rounding = parted and _close(a.metrics, b.metrics, 1e-6)
    return sorted(differences(a, b), key=lambda found: rounding and found.cause not in ("data", "inputs", *ROUNDING))


def _remarks(a: Record, b: Record, stages: list[Row], found: list[Difference]) -> list[str]:
    """Say where two runs part, and what to look at in the user's code."""
    apart = [row.name for row in stages if not row.equal]
    remarks = [f"the first stage that differs: {apart[0]}"]
    one, other = a.parts(), b.parts()
    if one and other and (parts := differing(one, other)):
        remarks.append(f"in the model: {few(parts)}")
    if apart == ["weights"] and any(row.name == "probe" for row in stages):
        remarks.append(f"only there: {HINTS['only weights']}")
    elif not found:
        # Rounds, steps and folds are of the training of a model.
        stage = "weights" if apart[0].startswith(("round ", "step ", "fold ")) else apart[0].partition(" ")[0]
        remarks.append(f"nothing that was recorded differs, so it is the code: {HINTS.get(stage, HINTS[''])}")
    return remarks


def within_tolerance(a: Record, b: Record) -> bool:
    """Tell whether two results differ no more than other hardware makes them.

    Notes
    -----
    Measured with the kernels of other CPUs: convex models agree to about 1e-13 relative, so 1e-9 is asked for.
    Trees change where a split was a tie: 99 of 100 predictions must agree, and metrics within 0.01. Other models
    are held to their metrics, within 0.01 of their size, never to their weights.
    """
    import numpy as np

    if a.metrics.keys() != b.metrics.keys():
        return False
    kind = a.content["model"]["kind"]
    relative, absolute = (1e-9, 0.0) if kind == "convex" else (1e-2, 1e-2)
    if not _close(a.metrics, b.metrics, relative, absolute):
        return False
    if kind == "other":
        return True
    one, other = a.predictions, b.predictions
    if one is None or other is None or one.shape != other.shape:
        return False
    columns = [one.to_numpy(), other.to_numpy()]
    if all(np.issubdtype(column.dtype, np.number) for column in columns):
        agree = np.isclose(columns[0].astype(float), columns[1].astype(float), rtol=1e-9, atol=0, equal_nan=True)
    else:
        agree = columns[0] == columns[1]
    return bool(agree.mean() >= (1.0 if kind == "convex" else 0.99))


def _close(a: dict[str, float], b: dict[str, float], relative: float, absolute: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(
        math.isclose(a[name], b[name], rel_tol=relative, abs_tol=absolute)
        or (math.isnan(a[name]) and math.isnan(b[name]))
        for name in a
    )
