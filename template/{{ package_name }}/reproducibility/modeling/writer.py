"""Turn a model into what JSON and arrays can say."""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any

from ..source.own_code import is_own
from .content import Content
from .parts import SCALARS, full_name
from .trust import MAPPINGS, Vocabulary, find, require_known, trusted_types

if TYPE_CHECKING:
    import numpy as np


class Writer:
    """Turns values into what JSON can say: `{"is": kind, "of": content, "id": number}`, or `{"same": number}`."""

    def __init__(self, framework: Vocabulary) -> None:
        self.framework = framework
        self.arrays: dict[str, np.ndarray] = {}
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # an object that is gone would leave its `id` to another

    def write(self, value: Any) -> Any:
        """Give the node of a value."""
        if type(value) in SCALARS:
            return value
        if id(value) in self.seen:
            return {"same": self.seen[id(value)]}
        number = self.seen[id(value)] = len(self.kept)
        self.kept.append(value)
        kind, content = self._composite(value)
        return {"is": kind, "of": content, "id": number}

    def _composite(self, value: Any) -> tuple[str, Any]:
        import numpy as np
        import pandas as pd

        if packed := self.framework.pack(value):
            return f"framework {packed[0]}", self.write(packed[1])
        match value:
            case bytes() | bytearray():
                return "bytes", self._array(np.frombuffer(value, np.uint8))
            case np.ndarray() if type(value) is np.ndarray and value.dtype.hasobject and not value.dtype.names:
                return "objects", [self.write(value.tolist()), list(value.shape)]
            case np.ndarray() if type(value) is np.ndarray and not value.dtype.hasobject:
                return "array", self._array(value)
            case np.generic() if not value.dtype.hasobject:
                return "scalar", self._array(np.asarray(value))
            case np.dtype() if not value.hasobject:
                return "dtype", value.str
            case np.ufunc():
                return "ufunc", value.__name__
            case pd.Series():
                parts = value.to_numpy(), str(value.dtype), value.index.to_numpy(), value.name
                return "column", [self.write(part) for part in parts]
            case functools.partial() if type(value) is functools.partial:
                return "partial", [self.write(part) for part in (value.func, value.args, value.keywords)]
            case type() | types.FunctionType() | types.BuiltinFunctionType():
                return "name", self._name(value)
            case types.MethodType():
                return "method", [self.write(value.__self__), value.__name__]
        if type(value) in (list, tuple, set, frozenset):
            return type(value).__name__, [self.write(item) for item in value]
        if MAPPINGS.get(type(value).__name__) is type(value):
            pairs = [[self.write(key), self.write(item)] for key, item in value.items()]
            return f"mapping {type(value).__name__}", pairs
        if isinstance(value, tuple) and hasattr(value, "_fields") and self._is_own(type(value)):
            return "named", [self._name(type(value)), [self.write(item) for item in value]]
        if self._is_own(type(value)):
            return "object", self._object(value)
        return "estimator", self._array(np.frombuffer(_dump_estimator(value, self.framework), np.uint8))

    def _object(self, value: Any) -> Any:
        made, arguments, state, items, pairs = (*value.__reduce_ex__(4), None, None, None)[:5]
        if made.__name__ != "__newobj__" or arguments != (type(value),) or items or pairs:
            raise NotImplementedError(f"a {full_name(type(value))} is more than its attributes")
        return [self._name(type(value)), self.write(state)]

    def _is_own(self, kind: type) -> bool:
        name = full_name(kind)
        return name.startswith(self.framework.packages) or is_own(name)

    def _array(self, array: np.ndarray) -> str:
        name = str(len(self.arrays))
        self.arrays[name] = array
        return name

    def _name(self, value: Any) -> str:
        name = full_name(value)
        if find(name, self.framework) is not value:
            raise NotImplementedError(f"{name} is not what its module has under that name")
        return name


def _dump_estimator(value: Any, framework: Vocabulary) -> bytes:
    import skops.io

    # Before skops sees it: to copy an object of C++ can end the process.
    held = Content(value, framework.unpack).code
    require_known([name for name in held if name.split(".")[0] not in sys.stdlib_module_names], framework)
    content: bytes = skops.io.dumps(value)
    trusted_types(content, framework)
    return content
