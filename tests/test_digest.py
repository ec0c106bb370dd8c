"""The canonical digest: equal exactly where the content is, whatever holds it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow
import pytest
import scipy.sparse
from conftest import TEMPLATE
from pydantic import BaseModel

from harness import load


@pytest.fixture(scope="module")
def digest() -> ModuleType:
    return load("common.digest")


def padded(garbage: int) -> Any:
    """A structured array whose bytes between the fields are garbage."""
    array = np.zeros(3, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True))
    assert array.dtype.itemsize == 16, "no padding, nothing tested"
    array.view(np.uint8)[:] = garbage
    array["a"], array["b"] = [1, 2, 3], [0.5, 1.5, 2.5]
    return array


@dataclass
class Point:
    x: Any
    y: Any


@dataclass
class Place:
    x: Any
    y: Any


class Section(BaseModel):
    a: int


class Colour(Enum):
    RED = 1
    BLUE = 2


class ArrowOnly:
    """A table of some library that only Arrow's protocol can read, as polars' can be."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.table = pyarrow.table(columns)

    def __arrow_c_stream__(self, requested: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested)


CANARY = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
EQUAL: dict[str, tuple[Any, Any]] = {
    "the order of a mapping's keys": ({"a": 1, "b": [2.0]}, {"b": [2.0], "a": 1}),
    "the order of nested keys": ({"x": {"a": 1, "b": 2}}, {"x": {"b": 2, "a": 1}}),
    "a list and a tuple": ([1, "x"], (1, "x")),
    "a Python and a NumPy integer": (7, np.int64(7)),
    "a Python and a NumPy float": (0.1, np.float64(0.1)),
    "a Python and a NumPy truth": (True, np.True_),
    "Fortran and C order": (CANARY, np.asfortranarray(CANARY)),
    "a view with negative strides": (CANARY[::-1][::-1], CANARY),
    "a slice and its copy": (CANARY[:, ::2], CANARY[:, ::2].copy()),
    "big and little endian": (CANARY.astype(">f8"), CANARY.astype("<f8")),
    "big and little endian text": (np.array(["ä", "bc"], ">U2"), np.array(["ä", "bc"], "<U2")),
    "garbage between the fields": (padded(0), padded(255)),
    "big and little endian fields": (padded(0), padded(0).astype([("a", ">i1"), ("b", ">f8")])),
    "the index of a table": (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2]}, index=[5, 9])),
    "a series and its array": (pd.Series([1.5, 2.5]), np.array([1.5, 2.5])),
    "what lies under a mask": (
        np.ma.MaskedArray([1.0, 2.0], mask=[True, False]),
        np.ma.MaskedArray([9.0, 2.0], mask=[True, False]),
    ),
    "a sparse matrix in two formats": (scipy.sparse.csr_matrix(np.eye(3)), scipy.sparse.csc_matrix(np.eye(3))),
    "entries of a sparse matrix that stand twice": (
        scipy.sparse.coo_matrix(([1.0, 2.0], ([0, 0], [1, 1])), (2, 2)),
        scipy.sparse.coo_matrix(([3.0], ([0], [1])), (2, 2)),
    ),
    "a Python and a NumPy complex number": (1 + 2j, np.complex128(1 + 2j)),
    "the fields of a dataclass and of its copy": (Point(1, [2]), Point(1, [2])),
    "a view of keys and a list": ({"a": 1}.keys(), ["a"]),
    "bytes that can be changed": (bytearray(b"ab"), b"ab"),
    "a table of Arrow and of pandas": (ArrowOnly({"a": [1, 2]}), ArrowOnly({"a": [1, 2]})),
    "NaN and NaN": (np.array([np.nan, 1]), np.array([np.nan, 1])),
    "text columns of both kinds": (
        pd.DataFrame({"s": pd.Series(["a", None], dtype="str")}),
        pd.DataFrame({"s": pd.Series(["a", np.nan], dtype="object")}),
    ),
}
DIFFERENT: dict[str, tuple[Any, Any]] = {
    "one bit of a float": (1.0, np.nextafter(1.0, 2.0)),
    "one bit of an array": (CANARY, np.nextafter(CANARY, np.inf)),
    "minus zero": (0.0, -0.0),
    "minus zero in an array": (np.array([0.0]), np.array([-0.0])),
    "float32 and float64": (CANARY, CANARY.astype(np.float32)),
    "signed and unsigned": (np.array([1], np.int64), np.array([1], np.uint64)),
    "the unit of a time": (np.array([1], "M8[s]"), np.array([1], "M8[ms]")),
    "a part of a complex number": (1 + 2j, 1 + 3j),
    "the unit of one time": (np.datetime64("2024-01-01", "D"), np.datetime64("2024-01-01", "s")),
    "a value of a sparse matrix": (scipy.sparse.eye(3), scipy.sparse.eye(3) * 2),
    "the shape of a sparse matrix": (scipy.sparse.csr_matrix((2, 3)), scipy.sparse.csr_matrix((3, 2))),
    "a field": (Point(1, [2]), Point(1, [3])),
    "the class of a dataclass": (Point(1, 2), Place(1, 2)),
    "a setting": (Section(a=1), Section(a=2)),
    "one name of an enumeration": (Colour.RED, Colour.BLUE),
    "the end of a range": (range(3), range(4)),
    "a fraction": (Fraction(1, 3), Fraction(1, 2)),
    "a column of Arrow": (ArrowOnly({"a": [1, 2]}), ArrowOnly({"a": [1, 3]})),
    "the shape": (CANARY, CANARY.reshape(3, 2, 4)),
    "a scalar and an array of one": (np.zeros(()), np.zeros((1,))),
    "empty arrays of other shapes": (np.zeros((0, 3)), np.zeros((3, 0))),
    "an integer and a float": (1, 1.0),
    "a truth and a number": (True, 1),
    "nothing and its name": (None, "None"),
    "a number and its text": (1, "1"),
    "a date and its text": (date(2024, 1, 1), "2024-01-01"),
    "a date and its parts": (date(2024, 1, 1), ["date", "2024-01-01"]),
    "one nanosecond": tuple(pd.Series(pd.to_datetime([0, 1], unit="ns", utc=True))),
    "the digits of a decimal": (Decimal("1.1"), Decimal("1.10")),
    "a value that is not there and NaN": (pd.NA, float("nan")),
    "text and bytes": ("a", b"a"),
    "text and a path": ("a", Path("a")),
    "the order of a sequence": ([1, 2], [2, 1]),
    "where a text ends": (["ab", "c"], ["a", "bc"]),
    "where a sequence ends": ([[1], 2], [[1, 2]]),
    "where an empty sequence stands": ([[], 1], [1, []]),
    "where an array ends": ([np.zeros(1), np.zeros(2)], [np.zeros(2), np.zeros(1)]),
    "a key and a value": ({"a": "b"}, ["a", "b"]),
    "a value under another key": ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
    "text that looks like a head": ("x", "str(1,);x"),
    "the name of a column": (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
    "the order of columns": (pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"b": [2], "a": [1]})),
    "the type of a column": (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]})),
    "the order of rows": (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [2, 1]})),
    "a text of a column": (pd.DataFrame({"a": ["x", "y"]}), pd.DataFrame({"a": ["x", "z"]})),
    "a missing text and an empty one": (pd.DataFrame({"a": ["x", None]}), pd.DataFrame({"a": ["x", ""]})),
    "columns of one name": (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[2, 1]], columns=["a", "a"]),
    ),
    "a table and its columns": (pd.DataFrame({"a": [1]}), {"a": np.array([1])}),
    "objects of other kinds": (np.array([1, "a"], object), np.array(["1", "a"], object)),
    "a field's name": (np.zeros(2, [("a", "i4")]), np.zeros(2, [("b", "i4")])),
    "rows of a structured array": (padded(0)[:2], padded(0)[1:]),
    "where a masked value lies": (
        np.ma.MaskedArray([1.0, 1.0], mask=[True, False]),
        np.ma.MaskedArray([1.0, 1.0], mask=[False, True]),
    ),
}
#: Tables as people have them; all must have a digest, and one that repeats.
TAKEN: dict[str, Callable[[], Any]] = {
    "categories": lambda: pd.DataFrame({"c": pd.Categorical(["a", "b", "a"])}),
    "times": lambda: pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None])}),
    "times with a zone": lambda: pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None], utc=True)}),
    "dates and decimals": lambda: pd.DataFrame({"d": [date(2024, 1, 1), None], "n": [Decimal("1.10"), None]}),
    "nullable integers": lambda: pd.DataFrame({"n": pd.array([1, None], dtype="Int64")}),
    "nullable truths": lambda: pd.DataFrame({"n": pd.array([True, None], dtype="boolean")}),
    "no rows": lambda: pd.DataFrame({"a": np.zeros(0)}),
    "no columns": lambda: pd.DataFrame(index=[1, 2]),
    "categories alone": lambda: pd.Categorical(["a", None]),
    "an array of pandas": lambda: pd.array([1, None], dtype="Int64"),
    "a time of day and an identifier": lambda: [time(1, 2), UUID(int=5), pd.Period("2024-01"), pd.Interval(0, 1)],
    "a timestamp of NumPy": lambda: {"t": np.datetime64("NaT"), "d": np.timedelta64(1, "h")},
    "sparse arrays of other kinds": lambda: [scipy.sparse.coo_array([1, 2]), scipy.sparse.dok_matrix((2, 2))],
    "complex numbers": lambda: np.array([1 + 2j]),
    "a zero-dimensional array": lambda: np.array(3.5),
    "long integers": lambda: 10**40,
    "text of any script": lambda: {"ключ": "値 🙂"},
}


@pytest.mark.parametrize("what", EQUAL)
def test_what_does_not_matter_leaves_the_digest_as_it_is(digest: ModuleType, what: str) -> None:
    first, second = EQUAL[what]
    assert digest.of_value(first) == digest.of_value(second)


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_matters_changes_the_digest(digest: ModuleType, what: str) -> None:
    first, second = DIFFERENT[what]
    assert digest.of_value(first) == digest.of_value(first)
    assert digest.of_value(first) != digest.of_value(second)


@pytest.mark.parametrize("what", TAKEN)
def test_every_common_value_has_a_digest(digest: ModuleType, what: str) -> None:
    make = TAKEN[what]
    assert digest.of_value(make()) == digest.of_value(make())


@pytest.mark.parametrize(
    "value",
    [{1, 2}, frozenset({"a"}), object(), iter([1]), [1, {2}], {"a": {1}}, np.array([{1}], dtype=object)],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_canonical_content_is_refused(digest: ModuleType, value: Any) -> None:
    with pytest.raises(TypeError, match="no canonical content"):
        digest.of_value(value)


def test_a_digest_says_how_it_was_made(digest: ModuleType) -> None:
    assert digest.of_value(None).startswith("sha256:")
    assert len(digest.of_value(None)) == 71


def test_digests_do_not_depend_on_the_process(digest: ModuleType) -> None:
    """Recorded digests are compared years later: these are pinned, and a change needs a new schema version."""
    pinned = {"metrics": {"a": 0.1, "b": -0.0}, "split": [np.arange(3, dtype="i4"), "ä", None, True, b"\x00"]}
    code = (
        "import numpy as np; from harness import load; "
        "print(load('common.digest').of_value({'split': [np.arange(3, dtype='i4'), 'ä', None, True, b'\\x00'],"
        " 'metrics': {'b': -0.0, 'a': 0.1}}))"
    )
    scripts = TEMPLATE / "scripts"
    done = subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest.of_value(pinned)
    assert done.stdout.strip() == "sha256:a7bc1512e3e5a571a9baec0df774ea7abada6713c110000a676da5febd4d6a97"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_file_has_the_digest_that_hashlib_gives(digest: ModuleType, tmp_path: Path, size: int) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(np.random.default_rng(size).bytes(size))
    counted: list[int] = []
    assert digest.of_file(file, counted.append) == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert sum(counted) == size


def test_a_large_file_is_hashed_in_constant_memory(digest: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    with file.open("wb") as stream:
        stream.truncate(1 << 29)
        stream.seek(1 << 28)
        stream.write(b"one byte of content")
    tracemalloc.start()
    found = digest.of_file(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    with file.open("rb") as stream:
        assert found == f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
