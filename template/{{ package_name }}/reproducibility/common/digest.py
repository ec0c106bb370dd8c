"""Digests of files and values, which are equal where the content is equal to the last bit."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import sys
from collections import deque
from collections.abc import Callable, ItemsView, KeysView, Mapping, ValuesView
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

#: Read at once while a file is hashed: constant memory, whatever the file's size.
CHUNK = 1 << 20


def of_file(path: Path, progress: Callable[[int], object] | None = None) -> str:
    """Hash a file of any size: "sha256:" and 64 hexadecimal digits.

    After each piece `progress` is called with its number of bytes.
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
    """Hash a value, as `of_bytes` does bytes: arrays, tables, numbers, text, and mappings or sequences of these.

    Equal digests mean equal to the last bit: type, shape, bytes, and for tables the column names. The
    order of a mapping's keys does not count; the order of a sequence does.

    Parameters
    ----------
    value : Any
        Arrays of NumPy of any dtype and shape, tensors of PyTorch and TensorFlow, sparse matrices of SciPy, tables and
        columns of pandas, tables of Arrow, dataclasses, pydantic models, None, pandas.NA, numbers, text, bytes, dates,
        times, Path, Enum, mappings and sequences, nested as you like.

    Raises
    ------
    TypeError
        If a value has no content that could be hashed the same way everywhere, a set for example.
    """
    sha256 = hashlib.sha256()
    _feed(sha256.update, value)
    return f"sha256:{sha256.hexdigest()}"


def of_arrays(arrays: Mapping[str, Any]) -> str:
    """Hash arrays of numbers, of any shapes, by their names; needs NumPy alone."""
    sha256 = hashlib.sha256()
    for name in sorted(arrays):
        sha256.update(f"{len(name)}:{name};".encode())
        _feed_array(sha256.update, arrays[name])
    return f"sha256:{sha256.hexdigest()}"


def _feed(update: Callable[[Any], object], value: Any) -> None:
    """Feed a value with its kind and length before it, so that no two values run into one another."""
    import numpy as np
    import pandas as pd

    if type(value) is np.ndarray:  # what there is most of
        _feed_array(update, value)
        return

    def head(kind: str, *sizes: int) -> None:
        update(f"{kind}{sizes};".encode())

    match value:
        case None | bool() | np.bool_():
            head(str(value))
        case np.datetime64() | np.timedelta64():  # before the integers, which NumPy counts the latter among
            head("time")
            _feed_array(update, np.asarray(value))
        case np.floating() | np.complexfloating() if value.dtype.char in "gG":  # more bits than Python's
            head("long")
            _feed_array(update, np.asarray(value))
        case int() | np.integer():
            head(f"int {int(value)}")
        case float() | np.floating():
            head("float")
            update(struct.pack("<d", float(value)))
        case complex() | np.complexfloating():
            head("complex")
            update(struct.pack("<dd", complex(value).real, complex(value).imag))
        case str() | bytes() | Path():
            raw = value if isinstance(value, bytes) else str(value).encode()
            head(type(value).__name__ if isinstance(value, str | bytes) else "path", len(raw))
            update(raw)
        case bytearray() | memoryview():
            _feed(update, bytes(value))
        case date() | timedelta() | Decimal() | pd.api.typing.NAType():
            head(type(value).__name__)
            _feed(update, str(value))
        case time() | Fraction() | UUID() | range() | pd.Period() | pd.Interval() | Enum():
            head(type(value).__name__)
            _feed(update, repr(value))
        case _ if type(value).__module__.startswith("scipy.sparse"):  # one of its formats is a mapping
            head("sparse")
            _feed(update, _of_sparse(value.tocoo(copy=True)))
        case Mapping():
            head("mapping", len(value))
            for key in sorted(value, key=str):
                _feed(update, str(key))
                _feed(update, value[key])
        case list() | tuple() | deque() | KeysView() | ValuesView() | ItemsView():
            head("sequence", len(value))
            for item in value:
                _feed(update, item)
        case pd.DataFrame():
            head("table", *value.shape)
            for position, name in enumerate(value.columns):
                _feed(update, str(name))
                _feed(update, value.iloc[:, position].to_numpy())
        case pd.Series() | pd.Index() | pd.api.extensions.ExtensionArray():
            _feed(update, value.to_numpy())
        case np.ma.MaskedArray():  # what lies under the mask is arbitrary
            head("masked", *value.shape)
            _feed(update, np.ma.getmaskarray(value))
            _feed(update, value.compressed())
        case np.ndarray():
            _feed_array(update, value)
        case _ if (plain := _plain(value)) is not value:
            head(type(value).__qualname__)
            _feed(update, plain)
        case _:
            raise TypeError(f"no canonical content: {type(value).__qualname__}; give arrays, numbers, text or mappings")


def _plain(value: Any) -> Any:
    """Turn what libraries bring into arrays, tables and mappings; what is none of these stays as it is."""
    kind, package = type(value), type(value).__module__.partition(".")[0]
    if dataclasses.is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(kind, "model_fields"):  # pydantic
        return {**vars(value), **(value.model_extra or {})}
    if package == "torch" and hasattr(value, "detach"):
        return _of_torch(value.detach().cpu())
    if package in {"tensorflow", "keras"}:
        if hasattr(value, "dense_shape"):
            return {"shape": value.dense_shape, "at": value.indices, "values": value.values}
        if hasattr(value, "nested_row_splits"):
            return {"rows": list(value.nested_row_splits), "values": value.flat_values}
        return value.numpy() if hasattr(value, "numpy") else value
    if hasattr(value, "__arrow_c_stream__"):
        import pandas as pd

        table: Any = pd.DataFrame  # whose stubs do not know it yet
        return table.from_arrow(value)
    return value


def _of_sparse(entries: Any) -> Any:
    import numpy as np

    entries.has_canonical_format = False  # it says nothing of the order, which differs from format to format
    entries.sum_duplicates()
    order = np.lexsort(entries.coords)
    at = [numbers[order].astype(np.int64) for numbers in entries.coords]
    return {"shape": entries.shape, "at": at, "values": entries.data[order]}


def _of_torch(tensor: Any) -> Any:
    torch = sys.modules["torch"]  # which made it
    if tensor.layout is not torch.strided:
        entries = tensor.to_sparse_coo().coalesce()
        return {"shape": tuple(tensor.shape), "at": entries.indices(), "values": entries.values()}
    tensor = tensor.resolve_conj().resolve_neg()
    try:
        return tensor.numpy()
    except TypeError:  # a type that NumPy has not got, such as bfloat16
        return {"type": str(tensor.dtype), "values": tensor.contiguous().view(torch.uint8).numpy()}


def _feed_array(update: Callable[[Any], object], array: Any) -> None:
    import numpy as np

    if array.dtype.names:  # field by field: the padding between fields holds arbitrary bytes
        _feed(update, {name: array[name] for name in array.dtype.names})
    elif array.dtype.hasobject:
        update(f"objects{array.shape};".encode())
        for item in array.ravel():
            _feed(update, item)
    elif array.dtype.char in "gG" and np.finfo(array.dtype).nmant == 63:  # ten bytes, and arbitrary ones up to sixteen
        parts = np.ascontiguousarray(array).view(np.longdouble).reshape(-1, 1).view(np.uint8)
        update(f"{array.dtype.str}{array.shape};".encode())
        update(np.ascontiguousarray(parts[:, :10]).data)
    else:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        update(f"{little.dtype.str}{array.shape};".encode())
        update(little.reshape(-1).view(np.uint8).data)
