"""What a model is made of: taken apart into values, as a tree of digests in which every difference has a name."""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..common import digest
from ..common.project import ROOT
from .parts import (
    ADDRESS,
    SCALARS,
    all_plain,
    attributes,
    encoded,
    full_name,
    is_filled,
    is_large_and_plain,
    keyed,
    kind_of,
    numbered,
    without_padding,
)
from .tree import Node

#: Attributes that are no content: clocks, marks of a tracker, the version of the library, an address.
NOT_CONTENT = re.compile(
    r"\.((.*_)?(re)?(fit|score|train|training|predict)_times?_?|_mlflow_.*|_sklearn_version|_stop_words_id)"
)
#: Attributes and keys that are none: the number of threads, and the clocks of scikit-learn's searches.
NEVER_CONTENT = re.compile(r"(\.|\[')(n_jobs|nthread|num_threads)('\])?|\['(mean|std)_(fit|score)_time'\]")
#: Where results are cached is no result.
CACHES = ("joblib.memory.",)
#: A whole number from here on may be an address; a second pass tells. Seeds are smaller.
LOWEST_ADDRESS = 1 << 32
RECURSION_LIMIT = 100_000


class Content:
    """The content of a model.

    Parameters
    ----------
    model : Any
        Values, or objects: these are taken apart as pickle would, but no file is written and no address kept.
    unpack : callable, optional
        Gives what an object of a framework holds, where pickle's view of it is not its content; any other as it is.

    Notes
    -----
    Equal digests mean equal content, whatever process made the model, and however its parts are shared. Left out are
    what `NOT_CONTENT` names and addresses: whole numbers that are the `id` of a part.
    """

    def __init__(self, model: Any, unpack: Callable[[Any], Any] = lambda value: value) -> None:
        self._unpack = unpack
        #: "module.name" of every class and function in it.
        self.code: set[str] = set()
        self._addresses: set[int] | None = None
        with _deep_recursion():
            self.tree = self._start(model)
            if self._suspects:
                self._addresses = self._ids
                self.tree = self._start(model)

    @property
    def digest(self) -> str:
        """Of all of it: "sha256:" and 64 hexadecimal digits."""
        return self.tree.digest

    def _start(self, model: Any) -> Node:
        self._seen: dict[int, Node | None] = {}
        self._kept: list[Any] = []  # an object that is gone would leave its `id` to another
        self._ids: set[int] = set()
        self._suspects = False
        node = self._node(model)
        return Node(f"sha256:{sha256(encoded(node.digest)).hexdigest()}", node.children)

    def _node(self, value: Any) -> Node:
        kind = type(value)
        if kind in SCALARS:
            return Node(self._scalar(value), {})
        known = self._seen.get(id(value), self)
        if known is None:
            return Node("recursion", {})
        if isinstance(known, Node):
            return known
        self._kept.append(value)
        self._seen[id(value)] = None
        node = self._composite(value)
        self._seen[id(value)] = node
        return node

    def _scalar(self, value: Any) -> str:
        match value:
            case None | bool():
                self._ids.add(id(value))
                return str(value)
            case int():
                if value >= LOWEST_ADDRESS:
                    self._suspects = True
                    if self._addresses and value in self._addresses:
                        return "address"
                return f"int {value}"
            case float():
                return f"float {value.hex()}"
        self._ids.add(id(value))
        text = ADDRESS.sub("", value.replace(str(ROOT), "PROJECT"))
        return f"text {text}" if len(text) <= 100 else f"text {sha256(encoded(text)).hexdigest()}"

    def _composite(self, value: Any) -> Node:
        import numpy as np
        import pandas as pd

        self._ids.add(id(value))
        unpacked = self._unpack(value)
        if unpacked is not value:
            self._kept.append(unpacked)
            if isinstance(unpacked, types.SimpleNamespace):
                return self._join(type(value), [(f".{name}", part) for name, part in vars(unpacked).items()])
            return self._node(unpacked)
        match value:
            case np.ndarray() if value.dtype.hasobject and not value.dtype.names:
                return self._join("array", [("shape", value.shape), *numbered(value.ravel().tolist())])
            case np.ndarray() if value.dtype.names and not value.dtype.hasobject:
                packed, fields = without_padding(value.dtype)
                return Node(f"{fields} {value.shape} {digest.of_bytes(value.astype(packed).tobytes())}", {})
            case np.ndarray() if type(value) is np.ndarray and not value.dtype.hasobject:
                return Node(digest.of_value(value), {})
            case dict() if type(value) is dict and is_large_and_plain(value) and all_plain(value.values()):
                return self._plain("mapping", sorted((*map(self._scalar, item),) for item in value.items()))
            case dict():
                return self._join(kind_of(value, "mapping"), [*keyed(value), *attributes(value)])
            case list() | tuple() if type(value) in {list, tuple} and is_large_and_plain(value):
                return self._plain("sequence", map(self._scalar, value))
            case list() | tuple():
                return self._join(kind_of(value, "sequence"), [*numbered(value), *attributes(value)])
            case set() | frozenset():
                content = self._plain("set", sorted(self._node(item).digest for item in value)).digest
                return self._join(kind_of(value, "set"), [("content", content), *attributes(value)])
            case types.MappingProxyType():
                return self._join("mapping", keyed(value))
            case np.ma.MaskedArray():
                return Node(digest.of_value(value), {})
            case np.ndarray() if type(value) is not np.ndarray:
                return self._join(type(value), [(".array", value.view(np.ndarray)), *attributes(value)])
            case pd.Series():
                return self._join("column", [(".index", value.index.to_numpy()), (".array", value.array)])
            case pd.Categorical():
                return self._join("categories", [(".categories", value.categories.array), (".codes", value.codes)])
            case pd.DataFrame():
                columns = [(f".iloc[:, {i}]", value.iloc[:, i].array) for i in range(value.shape[1])]
                return self._join(
                    "table", [(".index", value.index.to_numpy()), (".columns", list(value.columns)), *columns]
                )
            case np.random.RandomState():  # what it was seeded from is drawn by the machine, where its state was set
                return self._join(type(value), [(".state", value.get_state(legacy=False))])
            case np.random.BitGenerator():
                return self._join(type(value), [(".state", value.state)])
            case Path():
                return Node(self._scalar(str(value)), {})
            case type():
                return self._named(value)
            case types.MethodType():
                return self._join("method", [("name", value.__func__), (".__self__", value.__self__)])
            case types.FunctionType():
                cells = [cell.cell_contents for cell in value.__closure__ or () if is_filled(cell)]
                held = [("defaults", value.__defaults__), ("keywords", value.__kwdefaults__), ("closure", cells)]
                return self._join(self._named(value).digest, [(name, part) for name, part in held if part])
            case types.ModuleType():
                return Node(f"module {value.__name__}", {})
        if dataclasses.is_dataclass(value) or isinstance(value, Mapping) or hasattr(type(value), "model_fields"):
            return self._object(value)  # which may hold more than its fields
        try:
            return Node(digest.of_value(value), {})
        except TypeError:
            return self._object(value)

    def _object(self, value: Any) -> Node:
        """Take an object apart into what pickle would put it together from."""
        name = full_name(type(value))
        if name.startswith(CACHES):
            return Node(name, {})
        try:
            reducer = copyreg.dispatch_table.get(type(value))
            reduced = reducer(value) if reducer else value.__reduce_ex__(4)
        except (
            Exception
        ):  # what cannot be copied, such as a lock or an open file, was not learned; its attributes may be
            return self._join(type(value), attributes(value))
        if isinstance(reduced, str):  # a function of C
            home = getattr(value, "__module__", None) or type(value).__module__
            self.code.add(f"{home}.{reduced}")
            return Node(f"{home}.{reduced}", {})
        _, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        parts = [(f"({i})", part) for i, part in enumerate(arguments) if not isinstance(part, type)]
        halves = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # attributes, and those in slots
        if all(isinstance(half, dict | None) for half in halves):
            parts += [(f".{attribute}", part) for half in halves for attribute, part in (half or {}).items()]
        else:
            parts.append((".state", state))
        return self._join(type(value), [*parts, *numbered(items or ()), *keyed(dict(pairs or ()))])

    def _join(self, kind: Any, parts: Iterable[tuple[str, Any]]) -> Node:
        """Make a node of parts, whose order is that of their names."""
        name = kind if isinstance(kind, str) else self._named(kind).digest
        children: dict[str, Node] = {}
        for step, part in parts:
            if _is_content(step):
                # Keys that are written alike are told apart by their order.
                children[step if step not in children else f"{step}#{len(children)}"] = self._node(part)
        content = name + "".join(f"\0{step}\0{children[step].digest}" for step in sorted(children))
        return Node(f"sha256:{sha256(encoded(content)).hexdigest()}", children)

    def _plain(self, kind: str, values: Iterable[Any]) -> Node:
        return Node(f"sha256:{sha256(encoded(repr([kind, *values]))).hexdigest()}", {})

    def _named(self, value: Any) -> Node:
        name = full_name(value)
        self.code.add(name)
        return Node(name, {})


@functools.lru_cache(1 << 12)
def _is_content(step: str) -> bool:
    """Tell whether what a step leads to is content."""
    return not NOT_CONTENT.fullmatch(step) and not NEVER_CONTENT.fullmatch(step)


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let long chains of objects, such as linked lists, be followed: Python's frames take no stack of C."""
    former = sys.getrecursionlimit()
    sys.setrecursionlimit(max(former, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(former)
