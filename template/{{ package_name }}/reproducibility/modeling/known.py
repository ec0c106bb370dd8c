"""The classes and functions that a stored model may name."""

from __future__ import annotations

import builtins
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

from ..source.own_code import is_own
from . import trust

MAPPINGS = {kind.__name__: kind for kind in (dict, OrderedDict, defaultdict, Counter)}
#: Functions that a model may name, besides the project's own; they are called when it predicts.
FUNCTIONS = ("torch.nn.functional.", "sklearn.metrics.", "sklearn.feature_selection.", "keras.src.activations.")
#: Types that a model may name.
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


def trusted(content: bytes, framework: Vocabulary) -> list[str]:
    """Give the classes and functions that skops asks for, if they are known ones."""
    import skops.io

    named = skops.io.get_untrusted_types(data=content)
    require_known(named, framework)
    return list(named)


def require_known(names: Iterable[str], framework: Vocabulary) -> None:
    """Refuse names that are neither the project's, the framework's nor trusted ones."""
    known = [name for name in names if name.startswith(framework.packages) or is_own(name) or trust.is_trusted(name)]
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
    if not name.startswith((*framework.packages, *FUNCTIONS)) and not is_own(name):
        raise NotImplementedError(f"{name} is neither the project's nor the framework's")
    found = trust.find(name)
    if not isinstance(found, type | types.FunctionType | types.BuiltinFunctionType):
        raise NotImplementedError(f"there is no class or function {name}")
    return found
