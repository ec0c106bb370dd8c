"""Recognise decimal and thousands characters, from the values of a text table."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tables import load

if TYPE_CHECKING:
    import pandas as pd

#: Decimal and thousands characters of the ways in which numbers are written, the simplest first.
STYLES = [(",", ""), (".", ","), (",", "."), *((point, gap) for gap in " '\u00a0\u202f" for point in ".,")]
PLAIN = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def style_of(file: Path, read: Mapping[str, Any]) -> dict[str, str]:
    """Tell decimal and thousands characters, from all columns that pandas' own would leave as text.

    Raises
    ------
    ValueError
        If two columns contradict each other, or a number could be two.
    """
    import pandas as pd

    table = load(file, read)
    texts = {name: _values(column) for name, column in table.items() if not pd.api.types.is_numeric_dtype(column)}
    evidence = {
        name: values
        for name, values in texts.items()
        if any(_is_written(values, style) for style in STYLES) and not all(map(PLAIN.fullmatch, values))
    }
    if not evidence:
        return {}
    floats = [name for name, column in table.items() if pd.api.types.is_float_dtype(column)]
    raw = load(file, read, dtype=dict.fromkeys(floats, "str"))[floats] if floats else table[[]]
    columns = evidence | {name: values for name, column in raw.items() if (values := _values(column))}
    styles = [style for style in STYLES if all(_is_written(values, style) for values in columns.values())]
    if not styles:
        shown = ", ".join(f"{name} has {values[0]!r}" for name, values in list(columns.items())[:4])
        raise ValueError(f"its numbers are not written in one way: {shown}")
    for name, values in columns.items():
        for value in values:
            if len(meanings := {_number(value, style): style for style in styles}) > 1:
                raise ValueError(f"{value!r} in column {name} can be {' or '.join(meanings)}: --read decimal=… says")
    decimal, thousands = styles[0]
    if not thousands.isascii():
        raise ValueError(f"the numbers of column {next(iter(evidence))} have a no-break space in them: delete it")
    return ({"decimal": decimal} if decimal != "." else {}) | ({"thousands": thousands} if thousands else {})


def _values(column: pd.Series[Any]) -> list[str]:
    return [str(value) for value in column.dropna().unique()]


def _is_written(values: list[str], style: tuple[str, str]) -> bool:
    return bool(values) and all(_number(value, style) for value in values)


def _number(value: str, style: tuple[str, str]) -> str:
    """Read a number as a style writes it: its plain form, or nothing if it is none."""
    found = _pattern(*style).fullmatch(value)
    if not found or not (found[2] or found[3]):
        return ""
    digits = (found[2] or "0").replace(style[1], "") if style[1] else found[2] or "0"
    return f"{found[1]}{digits}{f'.{found[3]}' if found[3] else ''}{found[4] or ''}"


@functools.cache
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    point, gap = re.escape(decimal), re.escape(thousands)
    whole = rf"\d+|[1-9]\d{{0,2}}(?:{gap}\d{{3}})+" if thousands else r"\d+"
    return re.compile(rf"\s*([+-]?)({whole})?(?:{point}(\d*))?([eE][+-]?\d+)?\s*")
