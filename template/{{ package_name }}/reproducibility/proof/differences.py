"""What was recorded of two runs and is not the same: the possible causes of another result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import conf
from ..record.fingerprint import KERNEL_VARIABLES
from ..record.schema import Record


@dataclass(frozen=True)
class Difference:
    """Something that was recorded of both runs and is not the same.

    Parameters
    ----------
    cause : str
        Its kind: data, inputs, seed, conf, code, packages, python, threads, processes,
        precision, launch, cpu, gpu, libc, machine or image.
    details : tuple of str
        What differs, one phrase each.
    """

    cause: str
    details: tuple[str, ...]


def differences(one: Record, other: Record) -> Iterator[Difference]:
    """Compare two records part by part, in the order in which each is likely to be the cause."""
    a, b = one.content, other.content

    def part(cause: str, one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
        names = [name for name in sorted({**one, **other}) if one.get(name) != other.get(name)]
        if names:
            yield Difference(cause, tuple(f"{n}: {_short(one.get(n))} -> {_short(other.get(n))}" for n in names))

    data_a, data_b = ({name: entry["digest"] for name, entry in side["data"].items()} for side in (a, b))
    shared = data_a.keys() & data_b.keys()  # a dataset of another name was chosen by the conf
    yield from part("data", *({name: side[name] for name in shared} for side in (data_a, data_b)))
    given = [{name: entry["digest"] for name, entry in side.get("inputs", {}).items()} for side in (a, b)]
    yield from part("inputs", *given)
    # Where inputs come from is no setting: what they are was compared.
    own = [{key: value for key, value in side.items() if key != conf.INPUTS} for side in (one.conf, other.conf)]
    flat = [conf.flatten(side, "conf") for side in own]
    for cause, chosen in (("seed", ["conf.seed"]), ("conf", None)):
        names = chosen or sorted({*flat[0], *flat[1]} - {"conf.seed", "conf.threads", "conf.processes"})
        yield from part(cause, *({name.removeprefix("conf."): side.get(name) for name in names} for side in flat))
    modules = [side["code"]["modules"] for side in (a, b)]
    if all(modules):
        yield from part("code", *modules)
    else:  # schema 1 knew the commit only
        yield from part("code", *({"commit": side["code"]["commit"]} for side in (a, b)))
    machines = a["environment"], b["environment"]
    if not all("python" in side for side in machines):
        yield from part("packages", *({"lock": side["lock"]} for side in machines))
        return
    yield from part("packages", *(side["packages"] for side in machines))
    yield from part("python", *({"python": side["python"]} for side in machines))
    yield from part("threads", *({"threads": side.get("conf.threads")} for side in flat))
    counts = [side.get("conf.processes", 1) for side in flat]
    if counts[0] != counts[1]:
        yield Difference("processes", (f"processes: {counts[0]} -> {counts[1]}, and another number gives other bits",))
    if all("precision" in side for side in machines):  # nothing before 0.5.1 noted it
        yield from part("precision", *(side["precision"] for side in machines))
    followers = {"PYTHONHASHSEED", *(name for name in a["launch"] if name.endswith("_THREADS"))}
    unset = [
        {name: value for name, value in side["launch"].items() if name not in followers or not value.isdigit()}
        for side in (a, b)
    ]
    yield from part("launch", *unset)
    features = [set(side["cpu_features"]) for side in machines]
    only = [" ".join(sorted(side - shared)) or "none" for shared in [features[0] & features[1]] for side in features]
    kernels = [_kernels(side) for side in machines]
    forced = [{name: side["variables"].get(name) for name in KERNEL_VARIABLES} for side in machines]
    yield from part("cpu", *({"features": f, "kernels": k, **v} for f, k, v in zip(only, kernels, forced, strict=True)))
    for cause in ("gpu", "libc", "machine"):
        yield from part(cause, *({cause: side[cause]} for side in machines))
    images = [side.get("container", {}) for side in machines]
    # Where its builder gives another ID each time, an image is known by what is in it.
    if not images[0].get("contents") or images[0]["contents"] != images[1].get("contents"):
        yield from part("image", *({"image": side.get("image")} for side in images))


def _kernels(environment: dict[str, Any]) -> str:
    return " ".join(sorted({f"{library['library']} {library['kernel']}".strip() for library in environment["blas"]}))


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:19] if text.startswith("sha256:") else text if len(text) < 60 else f"{text[:57]}…"
