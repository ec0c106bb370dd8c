"""Which code of the locked packages a stored model may name, and so run, without anybody's leave."""

from __future__ import annotations

import importlib
from typing import Any

#: Of these packages classes and NumPy's universal functions may be named, which only compute.
PACKAGES = ("sklearn.", "numpy.", "scipy.")
#: But of none that lies below one of these: they read and write files, or run what they are given.
SHUT = frozenset({"conftest", "datasets", "distutils", "externals", "f2py", "memmap", "testing", "tests", "_testing"})
#: Functions of these parts may be named, too: scores, kernels, selections, steps of a clustering.
FUNCTIONS = (
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


def is_trusted(name: str) -> bool:
    """Tell whether a stored model may name something.

    Parameters
    ----------
    name : str
        "module.name", as it calls itself.
    """
    if name in HARMLESS or name in ARRAYS:
        return True
    if not name.startswith(PACKAGES) or SHUT & set(name.split(".")):
        return False
    import numpy as np

    found = find(name)
    return isinstance(found, type | np.ufunc) or (found is not None and name.startswith(FUNCTIONS))


def find(name: str) -> Any:
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
