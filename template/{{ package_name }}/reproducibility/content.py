"""What a model is made of: taken apart into values, as a tree of digests in which every difference has a name."""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import re
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from . import digest
from .project import ROOT

#: Attributes that are no content: clocks, marks of a tracker, the version of the library, an address.
NOT_CONTENT = re.compile(
    r"\.((.*_)?(re)?(fit|score|train|training|predict)_times?_?|_mlflow_.*|_sklearn_version|_stop_words_id)"
)
#: Attributes and keys that are none: the number of threads, and the clocks of scikit-learn's searches.
NEVER_CONTENT = re.compile(r"(\.|\[')(n_jobs|nthread|num_threads)('\])?|\['(mean|std)_(fit|score)_time'\]")
#: Where results are cached is no result.
CACHES = ("joblib.memory.",)
#: Addresses in texts, such as "<object at 0x7f0c>".
ADDRESS = re.compile(r" at 0x[0-9a-f]+(?=>)")
#: A whole number from here on may be an address; a second pass tells. Seeds are smaller.
LOWEST_ADDRESS = 1 << 32
#: Nodes that a record names. What lies below is told apart as one.
NAMED = 2000
#: Sequences and mappings of more plain values than this are one node.
PLAIN = 50
SCALARS = frozenset({type(None), bool, int, float, str})
RECURSION_LIMIT = 100_000


class Node:
    """A part of a model.

    Parameters
    ----------
    digest : str
        Of this part, with all that it holds.
    children : dict of str to Node
        What it holds, by what leads there in Python: ".name", "[0]" or "['key']".
    """

    __slots__ = ("children", "digest")

    def __init__(self, digest: str, children: dict[str, Node]) -> None:
        self.digest = digest
        self.children = children

    def named(self, name: str = "model") -> dict[str, str]:
        """Give the digest of every part under its path, from the whole down; at most `NAMED`."""
        found: dict[str, str] = {}
        pending = deque([(name, self)])
        while pending and len(found) < NAMED:
            path, node = pending.popleft()
            found[path] = node.digest if len(node.digest) < 64 else node.digest[:23]
            pending.extend((path + step, child) for step, child in node.children.items())
        return found


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
        return Node(f"sha256:{sha256(_bytes(node.digest)).hexdigest()}", node.children)

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
        return f"text {text}" if len(text) <= 100 else f"text {sha256(_bytes(text)).hexdigest()}"

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
                return self._join("array", [("shape", value.shape), *_numbered(value.ravel().tolist())])
            case np.ndarray() if value.dtype.names and not value.dtype.hasobject:
                packed, fields = _packed(value.dtype)
                return Node(f"{fields} {value.shape} {digest.of_bytes(value.astype(packed).tobytes())}", {})
            case dict() if type(value) is dict and _is_large_and_plain(value) and _all_plain(value.values()):
                return self._plain("mapping", sorted((*map(self._scalar, item),) for item in value.items()))
            case dict():
                return self._join(_kind(value, "mapping"), [*_items(value), *_attributes(value)])
            case list() | tuple() if type(value) in {list, tuple} and _is_large_and_plain(value):
                return self._plain("sequence", map(self._scalar, value))
            case list() | tuple():
                return self._join(_kind(value, "sequence"), [*_numbered(value), *_attributes(value)])
            case set() | frozenset():
                content = self._plain("set", sorted(self._node(item).digest for item in value)).digest
                return self._join(_kind(value, "set"), [("content", content), *_attributes(value)])
            case types.MappingProxyType():
                return self._join("mapping", _items(value))
            case np.ma.MaskedArray():
                return Node(digest.of_value(value), {})
            case np.ndarray() if type(value) is not np.ndarray:
                return self._join(type(value), [(".array", value.view(np.ndarray)), *_attributes(value)])
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
                cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
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
            return self._join(type(value), _attributes(value))
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
        return self._join(type(value), [*parts, *_numbered(items or ()), *_items(dict(pairs or ()))])

    def _join(self, kind: Any, parts: Iterable[tuple[str, Any]]) -> Node:
        """Make a node of parts, whose order is that of their names."""
        name = kind if isinstance(kind, str) else self._named(kind).digest
        children: dict[str, Node] = {}
        for step, part in parts:
            if not NOT_CONTENT.fullmatch(step) and not NEVER_CONTENT.fullmatch(step):
                # Keys that are written alike are told apart by their order.
                children[step if step not in children else f"{step}#{len(children)}"] = self._node(part)
        content = sha256(name.encode())
        for step in sorted(children):
            content.update(_bytes(f"\0{step}\0{children[step].digest}"))
        return Node(f"sha256:{content.hexdigest()}", children)

    def _plain(self, kind: str, values: Iterable[Any]) -> Node:
        return Node(f"sha256:{sha256(_bytes(repr([kind, *values]))).hexdigest()}", {})

    def _named(self, value: Any) -> Node:
        name = full_name(value)
        self.code.add(name)
        return Node(name, {})


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Name the parts in which two contents differ, as far down as both were named.

    Parameters
    ----------
    one, other : dict of str to str
        What `Node.named` gave.

    Returns
    -------
    list of str
        Such as ["model.steps[0][1].idf_"]; empty if they are equal.
    """
    found = sorted(path for path in {*one, *other} if one.get(path) != other.get(path))
    inner = {path[: match.start()] for path in found for match in re.finditer(r"[.\[(]", path)}
    return [path for path in found if path not in inner]


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let long chains of objects, such as linked lists, be followed: Python's frames take no stack of C."""
    former = sys.getrecursionlimit()
    sys.setrecursionlimit(max(former, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(former)


def full_name(value: Any) -> str:
    """Give "module.name" of a class or function."""
    return f"{value.__module__}.{value.__qualname__}"


def _numbered(values: Iterable[Any]) -> list[tuple[str, Any]]:
    return [(f"[{i}]", value) for i, value in enumerate(values)]


def _items(mapping: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Give the values of a mapping by their keys; what a key holds counts where it is more than its text."""
    named = [(f"[{ADDRESS.sub('', repr(key))}]", key, value) for key, value in mapping.items()]
    keys = [(f"{step}.key", key) for step, key, _ in named if type(key) not in SCALARS]
    return [*((step, value) for step, _, value in named), *keys]


def _attributes(value: Any) -> list[tuple[str, Any]]:
    """Give what an object holds besides what its class is made for."""
    return [(f".{name}", part) for name, part in getattr(value, "__dict__", {}).items()]


def _kind(value: Any, plain: str) -> Any:
    """Name a plain container by what it is, and any other by its class."""
    return plain if type(value) in {dict, list, tuple, set, frozenset} else type(value)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_large_and_plain(values: Any) -> bool:
    return len(values) > PLAIN and _all_plain(values)


def _all_plain(values: Iterable[Any]) -> bool:
    return {*map(type, values)} <= SCALARS


@functools.cache
def _packed(dtype: Any) -> tuple[Any, str]:
    """Give a structured type without the padding between its fields, whose bytes are arbitrary; and its name."""
    import numpy as np

    packed = np.dtype([(name, dtype[name].newbyteorder("<")) for name in dtype.names])
    return packed, str(packed)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
