"""What the terminal and the page say alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..common import exit_codes
from ..record import metrics
from .compare import Comparison

MEANINGS = {
    exit_codes.IDENTICAL: "every stage is equal to the last bit.",
    exit_codes.EQUIVALENT: "not to the last bit, but within what other hardware explains.",
    exit_codes.DIFFERENT: "they are not the same result.",
}


def metric_rows(comparison: Comparison) -> list[tuple[Any, ...]]:
    """List name, both values, and whether they are the same."""
    one, other = comparison.a.metrics, comparison.b.metrics
    pairs = [(name, one.get(name), other.get(name)) for name in sorted({**one, **other})]
    return [(*pair, metrics.same(*pair[1:])) for pair in pairs]


def few(details: Sequence[str]) -> str:
    """Name the first few details, and how many more there are."""
    return "; ".join(details[:4]) + (f"; and {len(details) - 4} more" if len(details) > 4 else "")
