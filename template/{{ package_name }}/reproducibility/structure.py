"""Write a model down without pickle: its structure as JSON, arrays beside it, code by name only."""

from __future__ import annotations

import builtins
import functools
import json
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import trust
from .content import Content, full_name
from .own_code import is_own

if TYPE_CHECKING:
    import numpy as np

    from .base import Framework

STRUCTURE, ARRAYS = "structure.json", "arrays.npz"
MAPPINGS = {kind.__name__: kind for kind in (dict, OrderedDict, defaultdict, Counter)}
SCALARS = (type(None), bool, int, float, str)
#: Functions that a model may name, besides the project's own; they are called when it predicts.
FUNCTIONS = ("torch.nn.functional.", "sklearn.metrics.", "sklearn.feature_selection.", "keras.src.activations.")
#: Types that a model may name.
TYPES = frozenset({bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, object})


def save(model: Any, folder: Path, framework: Framework) -> None:
    """Write a model into a folder.

    Parameters
    ----------
    model : Any
        Values, arrays, objects of the project's and the framework's classes, estimators of scikit-learn; and mappings
        and sequences of these, nested and shared as you like.
    folder : Path
        Where the files go.
    framework : Framework
        `pack` and `packages` are used.

    Raises
    ------
    NotImplementedError
        If it holds something else, which is named.
    """
    import numpy as np

    writer = _Writer(framework)
    tree = writer.write(model)
    (folder / STRUCTURE).write_text(json.dumps(tree), "utf-8")
    np.savez(folder / ARRAYS, allow_pickle=False, **writer.arrays)


def load(folder: Path, framework: Framework) -> Any:
    """Read what `save` wrote. No code runs but that of the classes that it names, which are known ones.

    Raises
    ------
    NotImplementedError
        If it names something else.
    """
    import numpy as np

    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        return _Reader(framework, dict(arrays)).read(json.loads((folder / STRUCTURE).read_text("utf-8")))


class _Writer:
    """Turns values into what JSON can say: `{"is": kind, "of": content, "id": number}`, or `{"same": number}`."""

    def __init__(self, framework: Framework) -> None:
        self.framework = framework
        self.arrays: dict[str, np.ndarray] = {}
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # an object that is gone would leave its `id` to another

    def write(self, value: Any) -> Any:
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
        if _find(name, self.framework) is not value:
            raise NotImplementedError(f"{name} is not what its module has under that name")
        return name


class _Reader:
    """Makes values of what `_Writer` gave."""

    def __init__(self, framework: Framework, arrays: dict[str, np.ndarray]) -> None:
        self.framework = framework
        self.arrays = arrays
        self.made: dict[int, Any] = {}

    def read(self, node: Any) -> Any:
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
        return _find(name, self.framework)._make(self._read_all(nodes))

    def _read_object(self, content: Any, _: str, number: int) -> Any:
        name, node = content
        kind = _find(name, self.framework)
        made = self.made[number] = kind.__new__(kind)  # of a function there is none
        state = self.read(node)
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
        elif state:
            vars(made).update(state)
        return made

    def _read_name(self, name: str, _: str, number: int) -> Any:
        return _find(name, self.framework)

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
        return skops.io.loads(content, trusted=_trusted(content, self.framework))


def _dump_estimator(value: Any, framework: Framework) -> bytes:
    import skops.io

    # Before skops sees it: to copy an object of C++ can end the process.
    held = Content(value, framework.unpack).code
    _require_known([name for name in held if name.split(".")[0] not in sys.stdlib_module_names], framework)
    content: bytes = skops.io.dumps(value)
    _trusted(content, framework)
    return content


def _trusted(content: bytes, framework: Framework) -> list[str]:
    """Give the classes and functions that skops asks for, if they are known ones."""
    import skops.io

    named = skops.io.get_untrusted_types(data=content)
    _require_known(named, framework)
    return list(named)


def _require_known(names: Iterable[str], framework: Framework) -> None:
    known = [name for name in names if name.startswith(framework.packages) or is_own(name) or trust.is_trusted(name)]
    if strange := set(names) - set(known):
        raise NotImplementedError(f"there is no format but pickle for {', '.join(sorted(strange))}")


def _find(name: str, framework: Framework) -> Any:
    """Find a class or function of the project or the framework by its name.

    Raises
    ------
    NotImplementedError
        If it is neither, or is not there.
    """
    import numpy as np

    parts = name.split(".")
    if len(parts) == 2 and parts[0] in {"builtins", "numpy"}:
        found = getattr(builtins if parts[0] == "builtins" else np, parts[1], None)
        if isinstance(found, type) and (found in TYPES or issubclass(found, np.generic)):
            return found
    if not name.startswith((*framework.packages, *FUNCTIONS)) and not is_own(name):
        raise NotImplementedError(f"{name} is neither the project's nor the framework's")
    found = trust.find(name)
    if not isinstance(found, type | types.FunctionType | types.BuiltinFunctionType):
        raise NotImplementedError(f"there is no class or function {name}")
    return found
