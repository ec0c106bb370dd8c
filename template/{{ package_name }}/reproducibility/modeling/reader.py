"""Make a model of what was written, of known classes only."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

from .trust import MAPPINGS, Vocabulary, find, trusted_types

if TYPE_CHECKING:
    import numpy as np


class Reader:
    """Makes values of what `Writer` gave."""

    def __init__(self, framework: Vocabulary, arrays: dict[str, np.ndarray]) -> None:
        self.framework = framework
        self.arrays = arrays
        self.made: dict[int, Any] = {}

    def read(self, node: Any) -> Any:
        """Make the value of a node."""
        if not isinstance(node, dict):
            return node
        if "same" in node:
            return self.made[node["same"]]
        kind, _, what = node["is"].partition(" ")
        made = getattr(self, f"_read_{kind}")(node["of"], what, node["id"])
        self.made[node["id"]] = made
        return made

    def _read_all(self, nodes: list[Any]) -> list[Any]:
        return [self.read(node) for node in nodes]

    def _read_list(self, nodes: list[Any], _: str, number: int) -> list[Any]:
        made = self.made[number] = []
        made.extend(self._read_all(nodes))
        return made

    def _read_tuple(self, nodes: list[Any], _: str, number: int) -> tuple[Any, ...]:
        return tuple(self._read_all(nodes))

    def _read_set(self, nodes: list[Any], _: str, number: int) -> set[Any]:
        return set(self._read_all(nodes))

    def _read_frozenset(self, nodes: list[Any], _: str, number: int) -> frozenset[Any]:
        return frozenset(self._read_all(nodes))

    def _read_mapping(self, pairs: list[Any], kind: str, number: int) -> dict[Any, Any]:
        made = self.made[number] = MAPPINGS[kind]()
        for key, item in pairs:
            made[self.read(key)] = self.read(item)
        return made

    def _read_named(self, content: Any, _: str, number: int) -> Any:
        name, nodes = content
        return find(name, self.framework)._make(self._read_all(nodes))

    def _read_object(self, content: Any, _: str, number: int) -> Any:
        name, node = content
        kind = find(name, self.framework)
        made = self.made[number] = kind.__new__(kind)  # of a function there is none
        state = self.read(node)
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
        elif state:
            vars(made).update(state)
        return made

    def _read_name(self, name: str, _: str, number: int) -> Any:
        return find(name, self.framework)

    def _read_method(self, content: Any, _: str, number: int) -> Any:
        found = getattr(self.read(content[0]), content[1])
        if not isinstance(found, types.MethodType):
            raise NotImplementedError(f"{content[1]} is no method")
        return found

    def _read_partial(self, nodes: list[Any], _: str, number: int) -> Any:
        function, arguments, keywords = self._read_all(nodes)
        return functools.partial(function, *arguments, **keywords)

    def _read_bytes(self, array: str, _: str, number: int) -> bytes:
        return self.arrays[array].tobytes()

    def _read_array(self, array: str, _: str, number: int) -> Any:
        return self.arrays[array]

    def _read_scalar(self, array: str, _: str, number: int) -> Any:
        return self.arrays[array][()]

    def _read_objects(self, content: Any, _: str, number: int) -> Any:
        import numpy as np

        node, shape = content
        made = np.empty(shape, object)
        made[...] = self.read(node)
        return made

    def _read_dtype(self, name: str, _: str, number: int) -> Any:
        import numpy as np

        return np.dtype(name)

    def _read_ufunc(self, name: str, _: str, number: int) -> Any:
        import numpy as np

        found = getattr(np, name)
        if not isinstance(found, np.ufunc):
            raise NotImplementedError(f"numpy.{name} is no ufunc")
        return found

    def _read_column(self, nodes: list[Any], _: str, number: int) -> Any:
        import pandas as pd

        values, dtype, index, name = self._read_all(nodes)
        return pd.Series(values, index, dtype=dtype, name=name)

    def _read_framework(self, node: Any, kind: str, number: int) -> Any:
        return self.framework.restore(kind, self.read(node))

    def _read_estimator(self, array: str, _: str, number: int) -> Any:
        import skops.io

        content = self.arrays[array].tobytes()
        return skops.io.loads(content, trusted=trusted_types(content, self.framework))
