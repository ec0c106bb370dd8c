"""What the results of several trainings say together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

MATTERS, OTHER_BITS, NO_EFFECT = "matters here", "other bits, which repeat", "no effect seen here"
#: How far two devices may part in a plain training, whose steps are few and small: relative and absolute, and how many
#: predictions must be that near. Where a split was a tie, a tree takes another.
TOLERANCE, AGREEING = 1e-2, 0.99


def equal(found: list[dict[str, str]]) -> dict[str, Any]:
    """Tell whether all results are equal, and in which parts they are not."""
    parts = [name for name in found[0] if len({result.get(name) for result in found}) > 1]
    return {"times": len(found), "equal": not parts, "parts": ", ".join(parts), "digests": found[0]}


def untried(name: str, why: str) -> dict[str, Any]:
    """Say of a training why it was not tried; it speaks for nothing."""
    return {"name": name, "times": 0, "equal": True, "parts": why}


def parting(losses: Iterable[list[float]]) -> str:
    """Name the step in which trainings part."""
    for step, values in enumerate(zip(*losses, strict=True), 1):
        if len({*values}) > 1 and not all(map(math.isnan, values)):
            return f"they part in step {step}"
    return "their losses are equal"


def effect(without: Sequence[dict[str, str]], digests: dict[str, str]) -> str:
    """Say what two trainings without a switch tell of it, beside one with all of them."""
    if without[0] != without[1]:
        return MATTERS
    return NO_EFFECT if without[0] == digests else OTHER_BITS


def apart(predictions: Sequence[Any], losses: Sequence[list[float]]) -> dict[str, Any]:
    """Tell how far a GPU, whose results come first, and the CPU are apart."""
    import numpy as np

    (gpu, cpu), (gpu_losses, cpu_losses) = predictions, losses
    agree = float(np.isclose(gpu, cpu, rtol=TOLERANCE, atol=TOLERANCE).mean())
    near = np.allclose(gpu_losses, cpu_losses, rtol=TOLERANCE, atol=TOLERANCE)
    return {
        "equivalent": bool(agree >= AGREEING and near),
        "agree": round(agree, 6),
        "largest difference": float(np.abs(gpu - cpu).max()),
        "largest prediction": float(np.abs(cpu).max()),
    }
