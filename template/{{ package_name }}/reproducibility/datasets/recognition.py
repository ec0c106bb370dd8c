"""Recognise how a text table is written: once, when it is added; its entry keeps that as `read:`."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common.errors import ProjectError
from .layout import choose, require_even, require_names, sample
from .numerals import style_of
from .tables import UNREADABLE, load, require_known
from .texts import PACKED

#: What looks like a table to whoever asks no further.
STRANGE = {
    b"PAR1": "a parquet file: name it .parquet",
    b"PK\x03\x04": "a zip archive or a workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook: save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it",
    b"%PDF": "a PDF",
}


def recognise(
    file: Path, label: object, given: Mapping[str, Any] | None = None, nameless: bool = False
) -> dict[str, Any]:
    """Find out how a text table is written, from all of it.

    Parameters
    ----------
    file : Path
        The file.
    label : object
        What an error calls it.
    given : Mapping of str to Any, optional
        What a person says of it, which is believed.
    nameless : bool, default False
        Let columns be without a name, such as the row numbers that pandas writes.

    Returns
    -------
    dict
        What `read:` should say; empty for UTF-8 with commas and decimal points.

    Raises
    ------
    ProjectError
        If it is no table, or could be read in more than one way: with the line and the cause.
    """
    given = dict(given or {})
    require_known(given)
    try:
        read = {**_container(file, given), **given}
        read.update(choose(sample(file, read), given))
        header, names = require_even(file, read)
        require_names(names, nameless)
        if not {"decimal", "thousands"} & set(given):
            read.update(style_of(file, read))
        as_pandas = [name or f"Unnamed: {position}" for position, name in enumerate(names)]
        if [str(name) for name in load(file, read, nrows=1).columns] != as_pandas:
            raise ValueError(f"its names are {', '.join(names)[:200]}, and pandas reads others")
    except UNREADABLE as error:
        why = error.reason if isinstance(error, UnicodeDecodeError) else str(error).strip()
        raise ProjectError(
            f"{label} cannot be read as a table: {why or type(error).__name__}.",
            "It must be a parquet file, or text with one line of names and as many values in every row.\n"
            "Mend the file, or say how it is written: just data-add FILE --read sep=';' --read decimal=,",
        ) from error
    usual = {"sep": "," if header == names else "", "quotechar": '"'}
    return {key: value for key, value in read.items() if usual.get(key) != value}


def _container(file: Path, given: Mapping[str, Any]) -> dict[str, str]:
    """Tell compression and encoding, from the bytes."""
    with file.open("rb") as stream:
        start = stream.read(8)
    for magic, what in STRANGE.items():
        if start.startswith(magic):
            raise ValueError(f"it is {what}")
    packed = next((name for name, (magic, _) in PACKED.items() if start.startswith(magic)), None)
    read = {"compression": packed} if packed else {}
    encoding = None if "encoding" in given else _encoding(lambda: _pieces(file, packed))
    return {**read, "encoding": encoding} if encoding else read


def _pieces(file: Path, packed: str | None) -> Iterator[bytes]:
    with PACKED[packed][1](file) if packed else file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            yield piece


def _encoding(pieces: Callable[[], Iterator[bytes]]) -> str | None:
    """Tell the encoding of a text; None for UTF-8."""
    start = next(pieces(), b"")
    wide = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
    wide |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # after the longer ones
    encoding = next((name for mark, name in wide.items() if start.startswith(mark)), None)
    if encoding is None and 5 * start.count(0) > len(start):
        encoding = "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    try:
        for text in codecs.iterdecode(pieces(), encoding or "utf-8"):
            if "\0" in text:
                raise ValueError("it holds NUL characters, and is no text")
        return encoding
    except UnicodeDecodeError:
        if encoding:
            raise
    high, runs, seen = 0, 0, set[int]()
    for piece in pieces():
        seen.update(piece)
        high += len(re.findall(rb"[\x80-\xff]", piece))
        runs += sum(map(len, re.findall(rb"[\x80-\xff]{2,}", piece)))
    # Of western European languages hardly a letter with an accent stands beside another; of others most do.
    if seen & {0, 0x81, 0x8D, 0x8F, 0x90, 0x9D} or runs > high / 2:
        raise ValueError("it is neither UTF-8 nor of a western European encoding: iconv -f ITS_OWN -t UTF-8")
    return "cp1252" if seen & set(range(0x80, 0xA0)) else "latin-1"
