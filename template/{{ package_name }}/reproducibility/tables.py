"""Tables in files: how one is written is recognised when it is added, kept as `read:`, and never guessed again."""

from __future__ import annotations

import bz2
import codecs
import csv
import functools
import gzip
import io
import itertools
import lzma
import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .project import ProjectError

if TYPE_CHECKING:
    import pandas as pd

#: What `read:` may say, by the names of `pandas.read_csv`, and of which type each is.
OPTIONS: dict[str, type] = {
    "sep": str,
    "decimal": str,
    "thousands": str,
    "quotechar": str,
    "skipinitialspace": bool,
    "skiprows": int,
    "comment": str,
    "encoding": str,
    "compression": str,
}
KNOWN = ", ".join(f"{name} ({kind.__name__})" for name, kind in OPTIONS.items())
TEXTS, PARQUET = (".csv", ".tsv", ".tab", ".psv", ".txt"), ".parquet"
PACKED: dict[str, tuple[bytes, Callable[..., Any]]] = {
    "gzip": (b"\x1f\x8b", gzip.open),
    "bz2": (b"BZh", bz2.open),
    "xz": (b"\xfd7zXZ\x00", lzma.open),
}
PACKED_SUFFIXES = ("", ".gz", ".bz2", ".xz")
#: What looks like a table to whoever asks no further.
STRANGE = {
    b"PAR1": "a parquet file: name it .parquet",
    b"PK\x03\x04": "a zip archive or a workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook: save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it",
    b"%PDF": "a PDF",
}
SEPARATORS = (",", ";", "\t", "|")
WHITESPACE = r"\s+"
#: Decimal and thousands characters of the ways in which numbers are written, the simplest first.
STYLES = [(",", ""), (".", ","), (",", "."), *((point, gap) for gap in " '\u00a0\u202f" for point in ".,")]
#: Characters and records by which the separator is chosen; all of the file is checked afterwards.
SAMPLE, RECORDS = 500_000, 1_000
PLAIN = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?\s*")
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, csv.Error)


def suffix(name: str) -> str:
    """Give the part of a file's name that says what kind of table it is, such as ".csv.gz"; empty if it is none."""
    known = [PARQUET, *(text + packed for text in TEXTS for packed in PACKED_SUFFIXES)]
    return next((ending for ending in known if name.lower().endswith(ending)), "")


def require_known(read: Any) -> None:
    """Refuse what `read:` may not say: only how a file is written, nothing that runs code or changes values.

    Raises
    ------
    ProjectError
        Naming the options that there are.
    """
    if not isinstance(read, dict) or not all(_is_allowed(key, value) for key, value in read.items()):
        raise ProjectError(
            f"`read:` cannot be {read!r:.200}.",
            f"It may have, as in pandas.read_csv: {KNOWN}.",
        )


def _is_allowed(key: str, value: Any) -> bool:
    kind = OPTIONS.get(key)
    if type(value) is not kind:
        return False
    if key == "encoding":
        try:
            return isinstance("".encode(str(value)), bytes)
        except LookupError:
            return False
    if kind is str:
        return value in PACKED if key == "compression" else value == WHITESPACE or len(str(value)) == 1
    return isinstance(value, bool) or int(str(value)) >= 0


def options(texts: Iterable[str]) -> dict[str, Any]:
    """Turn `key=value` texts of the command line into what `read:` may say.

    Raises
    ------
    ProjectError
        With exit code 64, if there is no such option or it has no such value.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        kind = OPTIONS.get(key)
        try:
            found[key] = value == "true" if kind is bool else int(value) if kind is int else value.replace("\\t", "\t")
            require_known(found)
        except (ValueError, ProjectError) as error:
            raise ProjectError(f"--read {text!r} cannot be used.", f"--read KEY=VALUE, of {KNOWN}", 64) from error
    return found


def load(file: Path, read: Mapping[str, Any], **more: Any) -> pd.DataFrame:
    """Read a text table.

    Parameters
    ----------
    file : Path
        The file.
    read : Mapping of str to Any
        What its entry says; empty for UTF-8 with commas, and for entries of before there was `read:`.
    **more : Any
        Further arguments of `pandas.read_csv`.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        If it cannot be parsed, or a row has a value more than there are names.
    """
    import pandas as pd

    options = {"compression": None, **read, **more}
    with warnings.catch_warnings():
        # Without `index_col` pandas takes the first column for an index where the rows end in a separator, and each
        # name then stands over its neighbour's values. With it, it warns if what is beyond the names is not empty.
        warnings.filterwarnings("error", "Length of header", pd.errors.ParserWarning)
        try:
            table: pd.DataFrame = pd.read_csv(file, index_col=False, **options)
        except pd.errors.ParserWarning as error:
            _require_even(file, {"sep": ",", **read})  # names the line
            raise ValueError("there are rows with more values than names") from error
    if read and str(table.columns[-1]).startswith("Unnamed: ") and table.iloc[:, -1].isna().all():
        names = pd.read_csv(file, **{**options, "header": None, "nrows": 1, "dtype": str, "keep_default_na": False})
        if not names.iloc[0, -1].strip():  # the line of names ends in a separator
            table = table.iloc[:, :-1]
    return table


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
        read.update(_layout(_sample(file, read), given))
        header, names = _require_even(file, read)
        _require_names(names, nameless)
        if not {"decimal", "thousands"} & set(given):
            read.update(_numbers(file, read))
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


def _text(file: Path, read: Mapping[str, Any]) -> Any:
    opener = PACKED[read["compression"]][1] if "compression" in read else open
    return opener(file, "rt", encoding=read.get("encoding", "utf-8-sig"), newline="")


def _sample(file: Path, read: Mapping[str, Any]) -> list[str]:
    """Give the first lines."""
    with _text(file, read) as stream:
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


def _layout(lines: list[str], given: Mapping[str, Any]) -> dict[str, Any]:
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


def _require_even(file: Path, read: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    mark = read.get("comment")
    with _text(file, read) as lines:
        for number, line in enumerate(lines, 1) if mark else ():
            if mark in line and not line.startswith(mark):  # pandas would take the rest of the line for a comment
                raise ValueError(f"line {number} has a {mark} that begins no line, as comments do")
    with _text(file, read) as lines:
        return _even(_records(lines, read))


def _require_names(names: list[str], nameless: bool) -> None:
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


def _numbers(file: Path, read: Mapping[str, Any]) -> dict[str, str]:
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
