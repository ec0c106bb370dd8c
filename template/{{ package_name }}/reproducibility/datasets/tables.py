"""Tables in files, read as their `read:` says."""

from __future__ import annotations

import csv
import json
import lzma
import warnings
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from .layout import PACKED, WHITESPACE, require_even

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
#: How packed files are called, by pandas' name of the packing.
ENDINGS = {"gzip": ".gz", "bz2": ".bz2", "xz": ".xz"}
PACKED_SUFFIXES = ("", *ENDINGS.values())
#: Endings of texts, whose `read:` is recognised; of JSON with a row a line; and of formats that say all themselves.
TEXTS = tuple(text + packed for text in (".csv", ".tsv", ".tab", ".psv", ".txt") for packed in PACKED_SUFFIXES)
LINES = tuple(text + packed for text in (".jsonl", ".ndjson") for packed in PACKED_SUFFIXES)
PARQUET, FEATHER = (".parquet", ".pq"), (".feather", ".arrow")
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, csv.Error)


def suffix(name: str) -> str:
    """Give the part of a file's name that says what kind of table it is, such as ".csv.gz"; empty if it is none."""
    known = (*TEXTS, *LINES, *PARQUET, *FEATHER)
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
            raise ProjectError(f"--read {text!r} cannot be used.", f"--read KEY=VALUE, of {KNOWN}", USAGE) from error
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
            require_even(file, {"sep": ",", **read})  # names the line
            raise ValueError("there are rows with more values than names") from error
    if read and str(table.columns[-1]).startswith("Unnamed: ") and table.iloc[:, -1].isna().all():
        names = pd.read_csv(file, **{**options, "header": None, "nrows": 1, "dtype": str, "keep_default_na": False})
        if not names.iloc[0, -1].strip():  # the line of names ends in a separator
            table = table.iloc[:, :-1]
    return table


def load_binary(file: Path, kind: str, columns: list[str] | None) -> pd.DataFrame:
    """Read a table of a format that says itself what its columns are.

    Raises
    ------
    ValueError
        If it cannot be parsed, or has no such columns.
    """
    import pandas as pd

    if kind in LINES:
        return _load_lines(file, kind, columns)
    table: pd.DataFrame = (pd.read_parquet if kind in PARQUET else pd.read_feather)(file, columns=columns)
    return table


def _load_lines(file: Path, kind: str, columns: list[str] | None) -> pd.DataFrame:
    """Read JSON lines as JSON has them: pandas would round numbers, and take texts for numbers or dates."""
    import pandas as pd

    opener = next((PACKED[name][1] for name, ending in ENDINGS.items() if kind.endswith(ending)), open)
    with opener(file, "rt", encoding="utf-8-sig") as stream:
        rows = [json.loads(line) for line in stream if line.strip()]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it needs an object a line")
    table = pd.DataFrame(rows)
    return table if columns is None else table[columns]
