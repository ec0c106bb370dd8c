"""Which classes and functions a stored model may name, and so run, when it is loaded unseen."""

from __future__ import annotations

import builtins
import importlib
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

from ..source.own_code import is_own

#: Of these packages classes and NumPy's universal functions may be named, which only compute.
PACKAGES = ("sklearn.", "numpy.", "scipy.")
#: But of none that lies below one of these: they read and write files, or run what they are given.
SHUT = frozenset({"conftest", "datasets", "distutils", "externals", "f2py", "memmap", "testing", "tests", "_testing"})
#: Functions of these parts may be named, too: scores, kernels, selections, steps of a clustering.
COMPUTING = (
    *("sklearn.cluster.", "sklearn.feature_selection.", "sklearn.gaussian_process.", "sklearn.metrics."),
    *("sklearn.preprocessing.", "scipy._lib.array_api_compat.numpy._aliases.asarray"),
)
#: And of NumPy's functions these, from arrays to arrays.
ARRAYS = frozenset(
    "numpy." + name
    for name in (
        *("all", "amax", "amin", "any", "argmax", "argmin", "argsort", "around", "clip", "column_stack", "concatenate"),
        *("cumsum", "diff", "expand_dims", "flip", "hstack", "imag", "max", "mean", "median", "min", "nan_to_num"),
        *("nanmax", "nanmean", "nanmedian", "nanmin", "nanstd", "prod", "ptp", "quantile", "ravel", "real", "repeat"),
        *("reshape", "round", "size", "sort", "squeeze", "stack", "std", "sum", "transpose", "unique", "var", "vstack"),
    )
)
#: Of the standard library these; what a partial function calls is named besides.
HARMLESS = frozenset({"builtins.range", "functools.partial", "collections.OrderedDict", "collections.defaultdict"})
#: Mappings that the structure of a model may name.
MAPPINGS = {kind.__name__: kind for kind in (dict, OrderedDict, defaultdict, Counter)}
#: Functions that it may name, besides the project's own; they are called when it predicts.
CALLED = ("torch.nn.functional.", "sklearn.metrics.", "sklearn.feature_selection.", "keras.src.activations.")
#: Types that it may name.
TYPES = frozenset({bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, object})


class Vocabulary(Protocol):
    """What is asked of a framework when a model is written down: see `base.Framework`."""

    packages: tuple[str, ...]

    def pack(self, value: Any) -> tuple[str, Any] | None:
        """Give a part of a model as plain values."""

    def restore(self, kind: str, content: Any) -> Any:
        """Make what `pack` gave."""

    def unpack(self, value: Any) -> Any:
        """Give what an object of the framework holds."""


def is_trusted(name: str) -> bool:
    """Tell whether a stored model may name a class or function of the locked packages: "module.name", as it says."""
    if name in HARMLESS or name in ARRAYS:
        return True
    if not name.startswith(PACKAGES) or SHUT & set(name.split(".")):
        return False
    import numpy as np

    found = _named(name)
    return isinstance(found, type | np.ufunc) or (found is not None and name.startswith(COMPUTING))


def trusted_types(content: bytes, framework: Vocabulary) -> list[str]:
    """Give the classes and functions that skops asks for, if they are known ones."""
    import skops.io

    named = skops.io.get_untrusted_types(data=content)
    require_known(named, framework)
    return list(named)


def require_known(names: Iterable[str], framework: Vocabulary) -> None:
    """Refuse names that are neither the project's, the framework's nor trusted ones."""
    known = [name for name in names if name.startswith(framework.packages) or is_own(name) or is_trusted(name)]
    if strange := set(names) - set(known):
        raise NotImplementedError(f"there is no format but pickle for {', '.join(sorted(strange))}")


def find(name: str, framework: Vocabulary) -> Any:
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
    if not name.startswith((*framework.packages, *CALLED)) and not is_own(name):
        raise NotImplementedError(f"{name} is neither the project's nor the framework's")
    found = _named(name)
    if not isinstance(found, type | types.FunctionType | types.BuiltinFunctionType):
        raise NotImplementedError(f"there is no class or function {name}")
    return found


def _named(name: str) -> Any:
    """Give the class or function that calls itself by a name, or NumPy's universal function; None if there is none.

    A path through what a module only imports leads nowhere: it could lead anywhere.
    """
    import numpy as np

    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
            for part in parts[count:]:
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError):
            continue
        calls_itself = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
        is_universal = isinstance(found, np.ufunc) and count == len(parts) - 1
        return found if is_universal or (calls_itself == name and callable(found)) else None
    return None
