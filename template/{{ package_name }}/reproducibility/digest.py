"""What "the same" means: digests over content, never over a file format's accidents."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

#: Read at once while a file is hashed: constant memory, whatever the file's size.
CHUNK = 1 << 20


def of_file(path: Path, progress: Callable[[int], object] | None = None) -> str:
    """Hash a file of any size.

    Parameters
    ----------
    path : Path
        The file.
    progress : callable, optional
        Called with the number of bytes after each piece.

    Returns
    -------
    str
        "sha256:" and 64 hexadecimal digits.
    """
    sha256 = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            sha256.update(buffer[:size])
            if progress:
                progress(size)
    return f"sha256:{sha256.hexdigest()}"


def fits(path: Path, digest: str) -> bool:
    """Tell whether a file is there and has a digest."""
    return path.is_file() and of_file(path) == digest


def of_bytes(content: bytes) -> str:
    """Hash bytes: "sha256:" and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def of_value(value: Any) -> str:
    """Hash a value: arrays, tables, numbers, text, and mappings or sequences of these.

    Equal digests mean equal to the last bit: type, shape, bytes, and for tables the column names. The
    order of a mapping's keys does not count; the order of a sequence does.

    Parameters
    ----------
    value : Any
        numpy.ndarray of any dtype and shape, pandas.DataFrame, Series or Index, bool, int, float, str, bytes,
        None, pandas.NA, dates and times, Decimal, Path, Mapping, list or tuple, nested as you like.

    Returns
    -------
    str
        "sha256:" and 64 hexadecimal digits.

    Raises
    ------
    TypeError
        If a value has no content that could be hashed the same way everywhere, a set for example.
    """
    sha256 = hashlib.sha256()
    _feed(sha256.update, value)
    return f"sha256:{sha256.hexdigest()}"


def _feed(update: Callable[[Any], object], value: Any) -> None:
    """Feed a value with its kind and length before it, so that no two values run into one another."""
    import numpy as np
    import pandas as pd

    def head(kind: str, *sizes: int) -> None:
        update(f"{kind}{sizes};".encode())

    match value:
        case None | bool() | np.bool_():
            head(str(value))
        case int() | np.integer():
            head(f"int {int(value)}")
        case float() | np.floating():
            head("float")
            update(struct.pack("<d", float(value)))
        case str() | bytes() | Path():
            raw = value if isinstance(value, bytes) else str(value).encode()
            head(type(value).__name__ if isinstance(value, str | bytes) else "path", len(raw))
            update(raw)
        case date() | timedelta() | Decimal() | pd.api.typing.NAType():
            head(type(value).__name__)
            _feed(update, str(value))
        case Mapping():
            head("mapping", len(value))
            for key in sorted(value, key=str):
                _feed(update, str(key))
                _feed(update, value[key])
        case list() | tuple():
            head("sequence", len(value))
            for item in value:
                _feed(update, item)
        case pd.DataFrame():
            head("table", *value.shape)
            for position, name in enumerate(value.columns):
                _feed(update, str(name))
                _feed(update, value.iloc[:, position].to_numpy())
        case pd.Series() | pd.Index():
            _feed(update, value.to_numpy())
        case np.ma.MaskedArray():  # what lies under the mask is arbitrary
            head("masked", *value.shape)
            _feed(update, np.ma.getmaskarray(value))
            _feed(update, value.compressed())
        case np.ndarray():
            _feed_array(update, value)
        case _:
            raise TypeError(f"no canonical content: {type(value).__qualname__}; give arrays, numbers, text or mappings")


def _feed_array(update: Callable[[Any], object], array: Any) -> None:
    import numpy as np

    if array.dtype.names:  # field by field: the padding between fields holds arbitrary bytes
        _feed(update, {name: array[name] for name in array.dtype.names})
    elif array.dtype.hasobject:
        update(f"objects{array.shape};".encode())
        for item in array.ravel():
            _feed(update, item)
    else:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        update(f"{little.dtype.str}{array.shape};".encode())
        update(little.reshape(-1).view(np.uint8).data)
