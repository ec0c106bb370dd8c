"""The parts of a value, by what leads to each in Python."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Addresses in texts, such as "<object at 0x7f0c>".
ADDRESS = re.compile(r" at 0x[0-9a-f]+(?=>)")
#: Sequences and mappings of more plain values than this are one node.
PLAIN = 50
SCALARS = frozenset({type(None), bool, int, float, str})


def full_name(value: Any) -> str:
    """Give "module.name" of a class or function."""
    return f"{value.__module__}.{value.__qualname__}"


def numbered(values: Iterable[Any]) -> list[tuple[str, Any]]:
    """Give values by their places."""
    return [(f"[{i}]", value) for i, value in enumerate(values)]


def keyed(mapping: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Give the values of a mapping by their keys; what a key holds counts where it is more than its text."""
    named = [(f"[{ADDRESS.sub('', repr(key))}]", key, value) for key, value in mapping.items()]
    keys = [(f"{step}.key", key) for step, key, _ in named if type(key) not in SCALARS]
    return [*((step, value) for step, _, value in named), *keys]


def attributes(value: Any) -> list[tuple[str, Any]]:
    """Give what an object holds besides what its class is made for."""
    return [(f".{name}", part) for name, part in getattr(value, "__dict__", {}).items()]


def kind_of(value: Any, plain: str) -> Any:
    """Name a plain container by what it is, and any other by its class."""
    return plain if type(value) in {dict, list, tuple, set, frozenset} else type(value)


def encoded(text: str) -> bytes:
    """Give the bytes of a text, also of one that is no valid Unicode."""
    return text.encode("utf-8", "surrogatepass")


def is_large_and_plain(values: Any) -> bool:
    """Tell whether there are so many values, all of them plain, that one node does for them."""
    return len(values) > PLAIN and all_plain(values)


def all_plain(values: Iterable[Any]) -> bool:
    """Tell whether there are no objects among values."""
    return {*map(type, values)} <= SCALARS


@functools.cache
def without_padding(dtype: Any) -> tuple[Any, str]:
    """Give a structured type without the padding between its fields, whose bytes are arbitrary; and its name."""
    import numpy as np

    packed = np.dtype([(name, dtype[name].newbyteorder("<")) for name in dtype.names])
    return packed, str(packed)


def is_filled(cell: Any) -> bool:
    """Tell whether a variable of a closure has a value yet."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
