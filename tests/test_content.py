"""The content of models: equal exactly where what was learned is, and named where it is not."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
import random
import re
import threading
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import harness

content = harness.load("modeling.content")
tree = harness.load("modeling.tree")


class Thing:
    """An object of nobody's."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


def digest(model: Any) -> str:
    return str(content.Content(model).digest)


def add(number: float, x: Any) -> Any:
    return x + number


def adder(number: float) -> Callable[[Any], Any]:
    return lambda x: x + number


def words(**options: Any) -> Any:
    return TfidfVectorizer(**options).fit(["a red car", "a blue car"])


def search(max_iter: int = 100) -> Any:
    X = np.random.default_rng(0).normal(size=(40, 3))
    return GridSearchCV(LogisticRegression(max_iter=max_iter), {"C": [1, 2]}, cv=2).fit(X, X[:, 0] > 0)


def linked(length: int) -> Any:
    """A list of objects, each of which knows the next and the one before."""
    things = [Thing(i=i) for i in range(length)]
    for one, other in itertools.pairwise(things):
        one.next, other.former = other, one
    return things[0]


def shared(twice: bool) -> Any:
    part = Thing(a=[1.5, 2.5])
    return [part, copy.deepcopy(part) if twice else part]


def held(address: bool) -> Any:
    part = Thing(a=1)
    return Thing(part=part, part_id=id(part) if address else 5)


def set_generator() -> Any:
    generator = np.random.RandomState()
    generator.set_state(np.random.RandomState(1).get_state())
    return generator


@dataclass
class Fitted:
    """An estimator as a dataclass: what it learns is no field."""

    alpha: float = 1.0
    data: Path | None = None

    def fit(self, learned: float) -> Fitted:
        self.coef_ = np.array([learned])
        return self


class Pair:
    """Gives a state of its own."""

    def __init__(self, w: Any, b: Any) -> None:
        self.w, self.b = w, b

    def __getstate__(self) -> Any:
        return self.w, self.b


class Silent(Thing):
    """Refuses to be copied."""

    def __getstate__(self) -> Any:
        raise TypeError("not me")


class Alike:
    """Is written as all others of its class are."""

    def __init__(self, i: int) -> None:
        self.i = i

    def __repr__(self) -> str:
        return "alike"


class Table(dict[str, Any]):
    pass


class Array(np.ndarray):
    pass


def marked(kind: type, value: Any, mark: int) -> Any:
    made = value.view(kind) if kind is Array else kind(value)
    made.mark = mark
    return made


def wrapped(number: int) -> Any:
    return functools.update_wrapper(Thing(number=number), add)


def padded(filling: int) -> Any:
    """Long floats, whose last bytes are nobody's."""
    array = np.empty(3, np.longdouble)
    array.view(np.uint8)[:] = filling
    array[:] = [1, 2, 3]
    return array


EQUAL: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "an address of a part": (lambda: held(True), lambda: held(True)),
    "an address of nothing": (words, lambda: pickle.loads(pickle.dumps(words()))),
    "an address in a text": (lambda: {"a": repr(object())}, lambda: {"a": repr(object())}),
    "the address of stop words": (lambda: words(stop_words=["a"]), lambda: words(stop_words=list("a"))),
    "how long a search took": (search, search),
    "the mark of a tracker": (lambda: Thing(a=1, _mlflow_run_id="x"), lambda: Thing(a=1)),
    "the order of attributes": (lambda: Thing(a=1, b=2), lambda: Thing(b=2, a=1)),
    "the order of a set": (lambda: {"a", "b", "c"}, lambda: {"c", "b", "a"}),
    "the order of keys": (lambda: {"a": 1, "b": [2]}, lambda: {"b": [2], "a": 1}),
    "a part that stands twice, and its copy": (lambda: shared(True), lambda: shared(False)),
    "a ring": (lambda: linked(3), lambda: linked(3)),
    "a long chain": (lambda: linked(5_000), lambda: linked(5_000)),
    "the folder of the project": (
        lambda: Thing(path=content.ROOT / "a.txt", text=f"{content.ROOT}/a.txt"),
        lambda: Thing(path=Path("PROJECT/a.txt"), text="PROJECT/a.txt"),
    ),
    "what a generator was seeded from": (lambda: np.random.RandomState(1), set_generator),
    "where results are cached": (lambda: joblib.Memory("/tmp/a"), lambda: joblib.Memory("/tmp/b")),
    "the bytes behind a long float": (lambda: padded(0), lambda: padded(255)),
    "the folder of the project in a dataclass": (
        lambda: Fitted(data=content.ROOT / "a.csv"),
        lambda: Fitted(data=Path("PROJECT/a.csv")),
    ),
    "the number of threads": (lambda: Thing(n_jobs=1), lambda: Thing(n_jobs=2)),
    "a lock": (lambda: Thing(lock=threading.Lock()), lambda: Thing(lock=threading.Lock())),
    "a function": (lambda: Thing(f=add), lambda: Thing(f=add)),
    "Fortran and C order": (lambda: np.eye(3), lambda: np.asfortranarray(np.eye(3))),
    "a loaded estimator": (words, lambda: pickle.loads(pickle.dumps(words()))),
}
DIFFERENT: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "what the search found": (search, lambda: search(1)),
    "a number that is no address": (lambda: held(False), lambda: Thing(part=Thing(a=1), part_id=6)),
    "the class": (lambda: Thing(a=1, b=2), lambda: Slotted(1, 2)),
    "a private attribute": (lambda: Thing(_fit_X=np.zeros(3)), lambda: Thing(_fit_X=np.ones(3))),
    "an attribute that is not there": (lambda: Thing(a=1), lambda: Thing(a=1, b=None)),
    "a slot": (lambda: Slotted(1, 2), lambda: Slotted(1, 3)),
    "what a function holds": (lambda: adder(1), lambda: adder(2)),
    "what a partial function holds": (lambda: functools.partial(add, 1), lambda: functools.partial(add, 2)),
    "the object of a method": (lambda: Thing(a=1).__eq__, lambda: words().transform),
    "the state of a generator": (lambda: np.random.default_rng(1), lambda: np.random.default_rng(2)),
    "the state of an old generator": (lambda: np.random.RandomState(1), lambda: np.random.RandomState(2)),
    "the state of Python's generator": (lambda: random.Random(1), lambda: random.Random(2)),
    "a value of a sparse matrix": (lambda: scipy.sparse.eye(3, format="csr"), lambda: scipy.sparse.csr_matrix((3, 3))),
    "a key of another type": (lambda: {1: "a"}, lambda: {"1": "a"}),
    "a class of arrays": (lambda: np.ma.array([1.0]), lambda: np.array([1.0])),
    "the index of a column": (lambda: pd.Series([1], index=["a"]), lambda: pd.Series([1], index=["b"])),
    "the name of a column": (lambda: pd.DataFrame({"a": [1]}), lambda: pd.DataFrame({"b": [1]})),
    "the order of categories": (
        lambda: pd.Series(pd.Categorical(["a"], ["a", "b"])),
        lambda: pd.Series(pd.Categorical(["a"], ["b", "a"])),
    ),
    "an array of objects": (
        lambda: np.array([Thing(a=1), Thing(a=2)], dtype=object),
        lambda: np.array([Thing(a=1), Thing(a=3)], dtype=object),
    ),
    "the shape of an array of objects": (
        lambda: np.array([[None, 1]], dtype=object),
        lambda: np.array([[None], [1]], dtype=object),
    ),
    "one of many numbers": (lambda: list(range(1000)), lambda: [*range(999), 0]),
    "one of many words": (
        lambda: {str(i): i for i in range(1000)},
        lambda: {str(i): i % 999 for i in range(1000)},
    ),
    "the length of a chain": (lambda: linked(3), lambda: linked(4)),
    "a place in a sequence": (lambda: [Thing(a=1), Thing(a=2)], lambda: [Thing(a=2), Thing(a=1)]),
    "a nesting": (lambda: [[1], 2], lambda: [[1, 2]]),
    "what a dataclass learned": (lambda: Fitted().fit(1), lambda: Fitted().fit(2)),
    "half a state": (lambda: Pair(1, 2), lambda: Pair(3, 2)),
    "what cannot be copied": (lambda: Silent(a=1), lambda: Silent(a=2)),
    "a key that names a time": (lambda: {"train_time": 1.0}, lambda: {"train_time": 9.0}),
    "keys that are written alike": (lambda: {Alike(1): 1, Alike(2): 2}, lambda: {Alike(1): 3, Alike(2): 2}),
    "what a key holds": (lambda: {Alike(1): 1}, lambda: {Alike(2): 1}),
    "an attribute of a mapping": (lambda: marked(Table, {"a": 1}, 1), lambda: marked(Table, {"a": 1}, 2)),
    "an attribute of an array": (lambda: marked(Array, np.zeros(2), 1), lambda: marked(Array, np.zeros(2), 2)),
    "an attribute of a mapping of the library": (lambda: marked(UserDict, {}, 1), lambda: marked(UserDict, {}, 2)),
    "a mapping that may not be changed": (lambda: MappingProxyType({"a": 1}), lambda: MappingProxyType({"a": 2})),
    "the object of a method of C": (lambda: {"a": 1}.get, lambda: {"a": 2}.get),
    "what a wrapper holds": (lambda: wrapped(1), lambda: wrapped(2)),
    "a level of an index": (
        lambda: pd.Series([1], index=pd.MultiIndex.from_tuples([("a", 1)])),
        lambda: pd.Series([1], index=pd.MultiIndex.from_tuples([("a", 2)])),
    ),
    "the last bit of a long float": (lambda: np.longdouble(1), lambda: np.nextafter(np.longdouble(1), 2)),
    "minus zero": (lambda: 0.0, lambda: -0.0),
    "a number and its text": (lambda: Thing(a=1), lambda: Thing(a="int 1")),
}


@pytest.mark.parametrize("what", EQUAL)
def test_what_was_not_learned_leaves_the_content_as_it_is(what: str) -> None:
    one, other = EQUAL[what]
    assert digest(one()) == digest(other())


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_was_learned_changes_the_content(what: str) -> None:
    one, other = DIFFERENT[what]
    assert digest(one()) == digest(one())
    assert digest(one()) != digest(other())


def test_a_difference_is_named_as_python_would_reach_it() -> None:
    def fit(text: str) -> Any:
        return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit([text, "a blue car"], [0, 1])

    one, other = fit("a red car"), fit("a car car")
    [name] = [
        path
        for path in tree.differing(*(content.Content(m).tree.named() for m in (one, other)))
        if path.endswith("idf_")
    ]
    assert name == "model.steps[0][1]._tfidf.idf_"
    assert not np.array_equal(eval(name, {"model": one}), eval(name, {"model": other}))


def test_only_the_innermost_parts_are_named() -> None:
    one, other = (Thing(a=Thing(b=[1, 2, last]), ab=5, c={"d": last}) for last in (3, 4))
    named = [content.Content(model).tree.named() for model in (one, other)]
    assert tree.differing(*named) == ["model.a.b[2]", "model.c['d']"]
    assert tree.differing(named[0], named[0]) == []


def test_a_large_model_is_named_from_the_whole_down() -> None:
    model = [Thing(parts=[Thing(a=i, b=j) for j in range(20)]) for i in range(200)]
    named = content.Content(model).tree.named()
    assert len(named) == tree.NAMED
    assert {f"model[{i}].parts" for i in range(200)} <= named.keys()


def test_the_recursion_limit_is_as_before() -> None:
    import sys

    before = sys.getrecursionlimit()
    digest(linked(1500))
    assert sys.getrecursionlimit() == before


def test_classes_and_functions_are_named() -> None:
    found = content.Content([words(), add, Thing(a=1)]).code
    assert {f"{__name__}.add", f"{__name__}.Thing"} <= found
    assert any(re.fullmatch(r"sklearn\..*\.TfidfVectorizer", name) for name in found)
