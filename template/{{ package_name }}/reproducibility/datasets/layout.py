"""Recognise separator, quotes and lines to skip, from the lines of a text table."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .texts import WHITESPACE, open_text

SEPARATORS = (",", ";", "\t", "|")
#: Characters and records by which the separator is chosen; all of the file is checked afterwards.
SAMPLE, RECORDS = 500_000, 1_000
NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?\s*")


def sample(file: Path, read: Mapping[str, Any]) -> list[str]:
    """Give the first lines."""
    with open_text(file, read) as stream:
        lines = list(io.StringIO(stream.read(SAMPLE), newline=""))
        return lines[:-1] if len(lines) > 1 and stream.read(1) else lines


def _records(lines: Iterable[str], read: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """Split lines into records as pandas does, each with the number of its line."""
    spaces, first = read["sep"] == WHITESPACE, read.get("skiprows", 0)
    mark = read.get("comment")
    rows = csv.reader(
        (
            "\n" if mark and line.startswith(mark) else line.strip(" ") if spaces else line
            for line in itertools.islice(lines, first, None)
        ),
        delimiter=" " if spaces else read["sep"],
        quotechar=read.get("quotechar", '"'),
        skipinitialspace=spaces or read.get("skipinitialspace", False),
        strict=True,
    )
    before = 0
    try:
        for row in rows:
            if len(row) > 1 or "".join(row).strip():  # blank lines are no records
                yield first + before + 1, row
            before = rows.line_num
    except csv.Error as error:
        raise ValueError(f"line {first + before + 1}: {error}") from error


def choose(lines: list[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Choose separator, quotes and what to skip, by the first lines."""
    start = "".join(lines).lstrip()[:20].lower()
    if not start:
        raise ValueError("it is empty")
    if start.startswith(("<!doctype", "<html", "<?xml")):
        raise ValueError("it is a web page or XML: does the address want a login?")
    if start.startswith(("{", "[{", "[[")):
        raise ValueError("it is JSON")
    told = re.match(r'"?sep=(.)"?\s*$', start, re.MULTILINE)  # a line for Excel
    if told:
        return {"sep": told[1], "skiprows": 1, **given}
    top = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    found = _chosen(lines, {**({"skiprows": top} if top else {}), **given})
    if not found and any(line.startswith("#") for line in lines) and "comment" not in given:
        found = _chosen(lines, {"comment": "#", **given})
    if not found:
        return _widest(lines, given)
    if len(found) > 1:
        names = " or ".join(repr(layout["sep"]) for layout in found)
        raise ValueError(f"its values could be separated by {names}")
    return found[0] if not top else _with_names(lines, found[0], top)


def _chosen(lines: list[str], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Find the layouts that give every record as many values as there are names, and most numbers or columns."""
    scores: dict[str, tuple[float, int, dict[str, Any]]] = {}
    separators = [given["sep"]] if "sep" in given else SEPARATORS
    for sep, quote in itertools.product(separators, ['"', "'"]):
        if quote != given.get("quotechar", quote) or (quote == "'" and not _begins(lines, sep, "'")):
            continue
        layout = {**given, "sep": sep, "quotechar": quote}
        try:
            _, header = next(_records(lines, layout), (0, [""]))
            if len(header) > 1 and all(name.startswith(" ") for name in header[1:]):
                layout.setdefault("skipinitialspace", True)
            records = list(itertools.islice(_records(lines, layout), RECORDS))
            _even(iter(records))
        except ValueError:
            continue
        header = records[0][1]
        if len(header) > 1 or "sep" in given:
            cells = [cell for _, row in records[1:] for cell in row if cell.strip()]
            numbers = sum(bool(NUMBER.fullmatch(cell)) for cell in cells) / max(len(cells), 1)
            still_quoted = any(cell[:1] in {"'", '"'} and cell[:1] == cell[-1:] for cell in [*header, *cells])
            if sep not in scores or scores[sep][0] < numbers - still_quoted:
                scores[sep] = numbers - still_quoted, len(header), layout
    best = max((score for score, _, _ in scores.values()), default=0)
    most = max((columns for _, columns, _ in scores.values()), default=0)
    # More numbers in fewer columns: values of one reading hold the separators of another, and neither is believed.
    return [layout for score, columns, layout in scores.values() if score == best or columns == most]


def _begins(lines: list[str], sep: str, quote: str) -> bool:
    """Tell whether values begin with a quote, and none with the usual one."""
    text = "\n" + "\n".join(lines)
    return any(before + quote in text and before + '"' not in text for before in ("\n", sep))


def _widest(lines: list[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the layout of a table of one column, of one that spaces separate, or of one that is wrong somewhere."""
    top = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    start = {**({"skiprows": top} if top else {}), **given}
    names = "".join(lines[top : top + 1])
    if "sep" not in given and not any(sep in names for sep in SEPARATORS):
        [*found] = _chosen(lines, {**start, "sep": WHITESPACE})
        rows = [row for _, row in _records(lines, found[0])][1:] if found else []
        cells = [cell for row in rows for cell in row]
        if cells and len(rows[0]) > 1 and sum(bool(NUMBER.fullmatch(cell)) for cell in cells) > len(cells) / 2:
            return found[0]
    return {**start, "sep": given.get("sep") or max(SEPARATORS, key=names.count)}


def _with_names(lines: list[str], layout: dict[str, Any], top: int) -> dict[str, Any]:
    """Decide whether the last of the lines that begin with # is a comment or the line of names."""
    with_mark = {**layout, "skiprows": top - 1}
    rows = [row for _, row in itertools.islice(_records(lines, with_mark), 3)]
    above, names, values = [*rows, [], []][:3]
    if len(above) != len(names) or len(names) == 1:
        return layout
    if any(NUMBER.fullmatch(cell) for cell in names):
        return with_mark if top > 1 else {key: value for key, value in layout.items() if key != "skiprows"}
    if any(NUMBER.fullmatch(cell) for cell in values):
        return layout
    raise ValueError(f"line {top} could be the names or a comment: delete it, or its #")


def _even(records: Iterator[tuple[int, list[str]]]) -> tuple[list[str], list[str]]:
    """Require as many values as names in every record; an empty one after the last is only a last separator.

    Returns
    -------
    tuple of (list of str, list of str)
        The line of names as it is, and the names.
    """
    start, header = next(records, (1, []))
    names = header[:-1] if len(header) > 1 and not header[-1].strip() else header
    for line, row in records:
        if len(row) < len(names) or any(cell.strip() for cell in row[len(names) :]) or len(row) > len(names) + 1:
            raise ValueError(f"line {line} has {len(row)} values, and line {start} has {len(names)} names")
    return header, names


def require_even(file: Path, read: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Require of a whole file what `_even` does of its records."""
    mark = read.get("comment")
    with open_text(file, read) as lines:
        for number, line in enumerate(lines, 1) if mark else ():
            if mark in line and not line.startswith(mark):  # pandas would take the rest of the line for a comment
                raise ValueError(f"line {number} has a {mark} that begins no line, as comments do")
    with open_text(file, read) as lines:
        return _even(_records(lines, read))


def require_names(names: list[str], nameless: bool) -> None:
    """Require names that tell the columns apart, and are no values."""
    empty = [str(position) for position, name in enumerate(names, 1) if not name.strip()]
    if empty and not nameless:
        raise ValueError(
            f"column {', '.join(empty)} has no name; of pandas: to_csv(index=False) leaves the row numbers out"
        )
    twice = sorted({name for name in names if name.strip() and names.count(name) > 1})
    if twice:
        raise ValueError(f"these names stand twice: {', '.join(twice)[:200]}")
    numbers = [name for name in names if NUMBER.fullmatch(name) and not name.strip().isdecimal()]
    if 2 * len(numbers) > len(names):
        raise ValueError(f"it has no line of names: the first has the values {', '.join(names)[:100]}")
