"""Two runs side by side: where they part, what differs between them, and what that means."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import conf
from ..common.exit_codes import DIFFERENT, EQUIVALENT, IDENTICAL
from ..modeling.tree import differing
from ..record.fingerprint import KERNEL_VARIABLES
from ..record.reader import Record

#: Since this schema a model's content is a tree of digests.
PARTS_SCHEMA = 3
#: Differences of the machine, which no checkout and no lock can take back.
HARDWARE = ("cpu", "gpu", "libc", "machine")
#: Differences that move the last bits only.
ROUNDING = ("threads", "processes", "precision", "cpu", "gpu", "packages", "libc", "machine", "launch")
#: What to look at first where runs part, by the stage in which they do.
HINTS = {
    "data": "the file changed between the two runs. Does the training itself write it?",
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


@dataclass(frozen=True)
class Difference:
    """Something that was recorded of both runs and is not the same.

    Parameters
    ----------
    cause : str
        Its kind: data, seed, conf, code, packages, python, threads, processes,
        precision, launch, cpu, gpu, libc or machine.
    details : tuple of str
        What differs, one phrase each.
    """

    cause: str
    details: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Parameters
    ----------
    a, b : Record
        The runs; of a reproduction, the original and the replay.
    """

    a: Record
    b: Record

    @property
    def stages(self) -> dict[str, bool]:
        """Whether each stage is equal, in the order in which the runs made them."""
        names = dict.fromkeys([*self.a.stages, *self.b.stages])
        if len({side.content["schema"] >= PARTS_SCHEMA for side in (self.a, self.b)}) > 1:
            names.pop("weights", None)  # the content of models was another then; answers and metrics still tell
        return {name: self.a.stages.get(name) == self.b.stages.get(name) for name in names}

    @property
    def parted(self) -> str | None:
        """The first stage that is not equal; None if all are."""
        return next((name for name, equal in self.stages.items() if not equal), None)

    @property
    def only_weights(self) -> bool:
        """Whether the models differ in what they hold alone, and in nothing that they answer."""
        parted = [name for name, equal in self.stages.items() if not equal]
        return parted == ["weights"] and self.stages.get("probe", False)

    @property
    def parts(self) -> list[str]:
        """The parts in which the models differ, such as "model.steps[0][1].idf_", where both records have them."""
        one, other = self.a.parts(), self.b.parts()
        return differing(one, other) if one and other else []

    @property
    def hint(self) -> str:
        """What to look at in user code, where two runs of the same thing part."""
        stage = self.parted or ""
        if self.only_weights:
            return HINTS["only weights"]
        if stage.startswith(("round ", "step ")):  # of the training of a model
            stage = "weights"
        return HINTS["data"] if stage.startswith("data ") else HINTS.get(stage, HINTS[""])

    @functools.cached_property
    def verdict(self) -> str:
        """Judge b as a reproduction of a."""
        if self.parted is None:
            return IDENTICAL
        explained = any(difference.cause in HARDWARE for difference in self.differences)
        return EQUIVALENT if explained and within_tolerance(self.a, self.b) else DIFFERENT

    @property
    def differences(self) -> list[Difference]:
        """All that differs between the two records, the most likely cause first.

        A dataset that differs comes first, since nothing after it can be equal. Metrics that differ by rounding
        only speak for what moves the last bits; larger differences speak for seed, settings and code.
        """
        found = list(_differences(self.a.content, self.b.content, self.a.conf, self.b.conf))
        rounding = self.parted is not None and _close(self.a.metrics, self.b.metrics, 1e-6)
        return sorted(found, key=lambda difference: rounding and difference.cause not in ("data", *ROUNDING))


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
    one, other = a.predictions(), b.predictions()
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


def _differences(
    a: dict[str, Any], b: dict[str, Any], conf_a: dict[str, Any], conf_b: dict[str, Any]
) -> Iterator[Difference]:
    """Compare part by part, in the order in which each is likely to be the cause."""

    def part(cause: str, one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
        names = [name for name in sorted({**one, **other}) if one.get(name) != other.get(name)]
        if names:
            yield Difference(cause, tuple(f"{n}: {_short(one.get(n))} -> {_short(other.get(n))}" for n in names))

    data_a, data_b = ({name: entry["digest"] for name, entry in side["data"].items()} for side in (a, b))
    shared = data_a.keys() & data_b.keys()  # a dataset of another name was chosen by the conf
    yield from part("data", *({name: side[name] for name in shared} for side in (data_a, data_b)))
    flat = [conf.flatten(side, "conf") for side in (conf_a, conf_b)]
    for cause, chosen in (("seed", ["conf.seed"]), ("conf", None)):
        names = chosen or sorted({*flat[0], *flat[1]} - {"conf.seed", "conf.threads", "conf.processes"})
        yield from part(cause, *({name.removeprefix("conf."): side.get(name) for name in names} for side in flat))
    modules = [side["code"]["modules"] for side in (a, b)]
    if all(modules):
        yield from part("code", *modules)
    else:  # schema 1 knew the commit only
        yield from part("code", *({"commit": side["code"]["commit"]} for side in (a, b)))
    one, other = a["environment"], b["environment"]
    if "python" not in one or "python" not in other:
        yield from part("packages", *({"lock": side["lock"]} for side in (one, other)))
        return
    yield from part("packages", one["packages"], other["packages"])
    yield from part("python", *({"python": side["python"]} for side in (one, other)))
    yield from part("threads", *({"threads": side.get("conf.threads")} for side in flat))
    counts = [side.get("conf.processes", 1) for side in flat]
    if counts[0] != counts[1]:
        yield Difference("processes", (f"processes: {counts[0]} -> {counts[1]}, and another number gives other bits",))
    if "precision" in one and "precision" in other:  # nothing before 0.5.1 noted it
        yield from part("precision", one["precision"], other["precision"])
    followers = {"PYTHONHASHSEED", *(name for name in a["launch"] if name.endswith("_THREADS"))}
    unset = [
        {name: value for name, value in side["launch"].items() if name not in followers or not value.isdigit()}
        for side in (a, b)
    ]
    yield from part("launch", *unset)
    features = [set(side["cpu_features"]) for side in (one, other)]
    only = [" ".join(sorted(side - shared)) or "none" for shared in [features[0] & features[1]] for side in features]
    kernels = [_kernels(side) for side in (one, other)]
    forced = [{name: side["variables"].get(name) for name in KERNEL_VARIABLES} for side in (one, other)]
    yield from part("cpu", *({"features": f, "kernels": k, **v} for f, k, v in zip(only, kernels, forced, strict=True)))
    for cause in ("gpu", "libc", "machine"):
        yield from part(cause, *({cause: side[cause]} for side in (one, other)))


def _kernels(environment: dict[str, Any]) -> str:
    return " ".join(sorted({f"{library['library']} {library['kernel']}".strip() for library in environment["blas"]}))


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:19] if text.startswith("sha256:") else text if len(text) < 60 else f"{text[:57]}…"
