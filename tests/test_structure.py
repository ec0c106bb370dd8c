"""Models written down by their structure: read back as they were, and nothing runs that was not known before."""

from __future__ import annotations

import functools
import json
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness

structure = harness.load("modeling.structure")
content = harness.load("modeling.content")
FRAMEWORK = SimpleNamespace(pack=lambda value: None, unpack=lambda value: value, packages=(f"{__name__}.",))


class Thing:
    """An object of a known class."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def answer(self) -> Any:
        return vars(self)


def read_back(value: Any, folder: Path) -> Any:
    structure.save(value, folder, FRAMEWORK)
    return structure.load(folder, FRAMEWORK)


VALUES: dict[str, Any] = {
    "numbers and texts": [1, 1.5, float("inf"), True, None, "ä", b"\0\1", 10**30],
    "arrays": [np.arange(6).reshape(2, 3), np.zeros((0, 3)), np.array(["a", "b"]), np.float32(1.5), np.dtype("f4")],
    "arrays of objects": [np.array(["a", None, 1], dtype=object), np.array([["a"], [None]], dtype=object)],
    "mappings": [{"a": 1, 2: "b", (1, "x"): None}, OrderedDict(b=1, a=2), defaultdict(OrderedDict, a=OrderedDict(b=1))],
    "sequences": [(1, (2,)), {1, 2}, frozenset("a")],
    "names": [np.log1p, np.float64, int, functools.partial(Thing, a=1), Thing, Thing(a=1).answer],
    "objects": Thing(a=Thing(b=[1, 2]), c=None),
    "a column": pd.Series([1.5, 2.5], index=["a", "b"], name="c"),
    "numbers of a generator": np.random.RandomState(1),
}


@pytest.mark.parametrize("what", VALUES)
def test_what_is_read_is_what_was_written(what: str, tmp_path: Path) -> None:
    value = VALUES[what]
    assert content.Content(read_back(value, tmp_path)).digest == content.Content(value).digest


def test_what_was_shared_is_shared_and_rings_stay_rings(tmp_path: Path) -> None:
    array = np.zeros(3)
    one = Thing(a=array, b=array)
    one.itself = [one]
    read = read_back(one, tmp_path)
    assert read.a is read.b
    assert read.itself[0] is read


@pytest.mark.parametrize(
    "value",
    [lambda x: x, open, Path("a"), json.JSONDecoder(), SimpleNamespace(a=1)],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_word_is_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"."):
        structure.save([value], tmp_path, FRAMEWORK)


def name(of: str) -> dict[str, Any]:
    return {"is": "name", "of": of, "id": 1}


@pytest.mark.parametrize(
    "node",
    [
        name("builtins.eval"),
        name("os.system"),
        name("numpy.save"),
        name("numpy.testing._private.utils.runstring"),
        name("torch.hub.load"),
        {"is": "object", "of": ["subprocess.Popen", {"is": "mapping dict", "of": [], "id": 2}], "id": 1},
        {"is": "ufunc", "of": "save", "id": 1},
        {"is": "method", "of": ["text", "__class__"], "id": 1},
        {"is": "method", "of": [name(f"{__name__}.read_back"), "__globals__"], "id": 2},
        {"is": "partial", "of": [name("builtins.exec"), None, None], "id": 2},
    ],
    ids=str,
)
def test_a_structure_that_names_other_code_is_not_read(node: dict[str, Any], tmp_path: Path) -> None:
    structure.save(None, tmp_path, FRAMEWORK)
    (tmp_path / structure.STRUCTURE).write_text(json.dumps(node))
    with pytest.raises(NotImplementedError):
        structure.load(tmp_path, FRAMEWORK)
