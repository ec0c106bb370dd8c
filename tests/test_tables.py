"""Text tables as they come: recognised when added, or refused then with line and cause, and never misread."""

from __future__ import annotations

import bz2
import csv
import gzip
import itertools
import lzma
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from allpairspy import AllPairs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from harness import FOLDER, load

errors = load("common.errors")
recognition = load("datasets.recognition")
tables = load("datasets.tables")

TABLE = pd.DataFrame(
    {
        "id": [1, 2, 3, 4],
        "größe [m]": [0.5, 1.25, 1234.75, -0.125],
        "note; of, a | kind": ["plain", "with, comma", "with; semicolon", 'with "quotes" and | pipe'],
        "Straße": ["Hauptstraße 1", "Rue de l'Été", "Über allem", "x\ty"],
        "y": [0, 1, 1, 0],
    }
)


def recognised(file: Path, **said: Any) -> pd.DataFrame:
    """Read a file as its entry would have it read, which a second reading confirms."""
    how = recognition.recognise(file, file.name, said)
    tables.require_known(how)
    return tables.load(file, how)


def refusal(content: str | bytes, folder: Path, name: str = "table.csv", **said: Any) -> str:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(errors.ProjectError) as caught:
        found = recognised(file, **said)
        print(found)
    assert len(str(caught.value.cause).splitlines()) < 10
    return str(caught.value.cause)


def reading(content: str | bytes, folder: Path, name: str = "table.csv", **said: Any) -> dict[str, list[Any]]:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {str(name): list(values) for name, values in recognised(file, **said).to_dict("list").items()}


WAYS: dict[str, list[Any]] = {
    "sep": [",", ";", "\t", "|"],
    "decimal": [".", ","],
    "quoting": [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC],
    "quotechar": ['"', "'"],
    "encoding": ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"],
    "compression": [None, "gzip", "bz2", "xz"],
    "lineterminator": ["\n", "\r\n"],
}
PAIRS = [tuple(way) for way in AllPairs(list(WAYS.values()))]
OTHERS = [way for way in itertools.product(*WAYS.values()) if way not in PAIRS]


@pytest.mark.filterwarnings("ignore:.*byte order mark")
@pytest.mark.parametrize("ways", [PAIRS, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=["pairs", "all"])
def test_what_pandas_writes_in_every_way_is_read_the_same(ways: list[tuple[Any, ...]], tmp_path: Path) -> None:
    for way in ways:
        TABLE.to_csv(tmp_path / "table.csv", index=False, **dict(zip(WAYS, way, strict=True)))
        pd.testing.assert_frame_equal(recognised(tmp_path / "table.csv"), TABLE)


WORDS = ["red", "Ada", "x-y", "New York", "a,b", "c;d", "it's", 'the "best"', "50%", "é", "#1", "1,5", "1.5", "3"]
NAMES = ["a", "b c", "d,e", "f;g", "h|i", "size [m]", "é", "x'", "#n", "2020", "k.l", "m:n", "o\tp"]
COLUMNS = st.one_of(
    st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 4)), min_size=4, max_size=4),
    st.lists(st.integers(-10000, 10**9), min_size=4, max_size=4),
    st.lists(st.sampled_from(WORDS), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.lists(st.one_of(st.none(), st.floats(-10, 10).map(lambda x: round(x, 2))), min_size=4, max_size=4),
)
RECOGNISED = {True: 0, False: 0}


@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    columns=st.dictionaries(st.sampled_from(NAMES), COLUMNS, min_size=2, max_size=5),
    sep=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    quote=st.sampled_from(['"', "'"]),
)
def test_a_table_is_read_right_or_refused(
    columns: dict[str, list[Any]], sep: str, decimal: str, quoting: Any, quote: str, tmp_path: Path
) -> None:
    assume(not next(iter(columns)).startswith("#"))  # nobody can tell such a line of names from a comment
    file = tmp_path / "table.csv"
    pd.DataFrame(columns).to_csv(file, index=False, sep=sep, decimal=decimal, quoting=quoting, quotechar=quote)
    right = pd.read_csv(file, sep=sep, decimal=decimal, quotechar=quote)
    assume(all(str(name) in columns for name in right.columns))
    try:
        found = recognised(file)
    except errors.ProjectError:
        RECOGNISED[False] += 1
        return
    RECOGNISED[True] += 1
    if not found.equals(right):
        # Texts that are numbers in other words may become numbers; names and shape never differ.
        assert list(found.columns) == list(right.columns) and found.shape == right.shape, file.read_text()
        for name in found.columns:
            if not found[name].equals(right[name]):
                texts = {str(value) for value in right[name].dropna()}
                assert texts <= {"1,5", "1.5", "3", "nan"}, (name, file.read_text())


def test_most_tables_are_recognised() -> None:
    assert RECOGNISED[True] > 5 * RECOGNISED[False], RECOGNISED


# --- Separators at the end, and rows that do not fit -----------------------------


def test_rows_that_end_in_a_separator_shift_nothing(tmp_path: Path) -> None:
    right = {"id": [7, 8], "a": [1, 3], "b": [2, 4]}
    for content in ("id,a,b\n7,1,2,\n8,3,4,\n", "id,a,b,\n7,1,2,\n8,3,4,\n", "id,a,b,\n7,1,2\n8,3,4\n"):
        assert reading(content, tmp_path) == right
        assert reading(content.replace(",", ";"), tmp_path) == right
    file = tmp_path / "old.csv"
    file.write_text("id,a,b\n7,1,2,\n8,3,4,\n")
    assert tables.load(file, {}).to_dict("list") == right  # an entry of before there was `read:`


def test_an_entry_of_before_reads_as_before(tmp_path: Path) -> None:
    for content in (
        "a,b\n1,2\n",
        "a,b,\n1,2,\n",
        ",a\n0,1\n",
        "a,a\n1,2\n",
        "a,b\n1\n3,4\n",
        '"a","b"\n"x",\n',
        "a\n1\n",
    ):
        (tmp_path / "old.csv").write_text(content)
        pd.testing.assert_frame_equal(tables.load(tmp_path / "old.csv", {}), pd.read_csv(tmp_path / "old.csv"))


def test_values_without_a_name_are_refused_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    for content, line in (
        ("a,b\n1,2,3\n", 2),
        ("a,b\n1,2,\n1,2,3\n", 3),
        ("a,b\n1,2\n\n1,2,3\n", 4),
        ('a,b\n"x\ny",2\n1,2,3\n', 4),
        ("a b\n1 2 3\n".replace(" ", "\t"), 2),
    ):
        assert f"line {line} has 3 values, and line 1 has 2 names" in refusal(content, tmp_path)
    file.write_text("a,b\n1,2,3\n")
    with pytest.raises(ValueError, match="line 2 has 3 values"):
        tables.load(file, {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 values, and line 1 has 3 names"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 values"),
        ("a,b,a\n1,2,3\n", "stand twice: a"),
        ("a,,c\n1,2,3\n", "column 2 has no name"),
        (",a,b\n0,1,2\n", "to_csv(index=False)"),
        ("a, ,c\n1,2,3\n", "column 2 has no name"),
        ("a,b,\n1,2,3\n", "line 2 has 3 values, and line 1 has 2 names"),
        ("5.1,3.5,1.4,setosa\n4.9,3.0,1.4,setosa\n", "no line of names"),
        ("6,148,33.6,0.627,0.1\n1,85,26.6,0.351,0.2\n", "no line of names"),
        ("", "empty"),
        ("\n\n", "empty"),
        ('a,b\n1,"2\n3,4\n', "line 2"),
        ("<!DOCTYPE html>\n<p>Log in</p>\n", "web page"),
        ('{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n', "JSON"),
        (b"PK\x03\x04rest", "workbook"),
        (b"PAR1rest", "parquet"),
        (b"\x1f\x8bnot really", "cannot be read"),
        (gzip.compress(b"a,b\n1,2\n" * 9, mtime=0)[:-9], "cannot be read"),
        (b"a,b\n1,\x002\n", "NUL"),
        ("пл,эй\nлшы,1\n".encode("cp1251"), "neither UTF-8"),
        ("名前,値\n言葉,1\n".encode("shift-jis"), "neither UTF-8"),
        ("# x,y\na,b\nc,d\n", "could be the names or a comment"),
        ("a,b\n1,2\n# note\n3,#4\n", "begins no line"),
        ("a;b\n0,5;x\n1.5;y\n", "a"),
        ("a;b\n0,5;1.5\n1,5;2.5\n", "not written in one way"),
        ('a,b\n"1,234",x\n"5,678",y\n', "'1,234' in column a can be 1.234 or 1234"),
        ("a;b\n1\u00a0234,5;x\n2\u00a0000,5;y\n", "no-break space"),
        ("a, b;c\nx, y;z\n", "could be separated by"),
    ],
)
def test_what_cannot_be_decided_is_refused_with_the_cause(content: str | bytes, said: str, tmp_path: Path) -> None:
    if "1.5;y" in str(content):  # a column of text, which no training takes for numbers
        assert reading(content, tmp_path)["a"] == ["0,5", "1.5"]
    else:
        assert said in refusal(content, tmp_path)


@pytest.mark.parametrize(
    ("content", "right"),
    [
        ("a;b\n0,5;x\n1,25;y\n", {"a": [0.5, 1.25], "b": ["x", "y"]}),
        ("a;b\n1.234,5;1.000\n2,5;12\n", {"a": [1234.5, 2.5], "b": [1000, 12]}),
        ("a;b\n1.234.567;0,5\n", {"a": [1234567], "b": [0.5]}),
        ('a,b\n"1,234.5",x\n7,y\n', {"a": [1234.5, 7.0], "b": ["x", "y"]}),
        ('a,b\n"1,234,567",0.5\n', {"a": [1234567], "b": [0.5]}),
        ("a;b\n1 234,5;x\n7,5;y\n", {"a": [1234.5, 7.5], "b": ["x", "y"]}),
        ("a\tb\n1'234.5\tx\n", {"a": [1234.5], "b": ["x"]}),
        ("a;b\n0,5;?\n;x\n", {"a": [0.5, None], "b": ["?", "x"]}),
        ("a, b\n1, 2\n", {"a": [1], "b": [2]}),
        ('a, b\n"x, y", 2\n', {"a": ["x, y"], "b": [2]}),
        ("sep=;\na;b\n1;2\n", {"a": [1], "b": [2]}),
        ("# by Ada, 2020\n# more\na,b\n1,2\n", {"a": [1], "b": [2]}),
        ("a,b\n1,2\n# note\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("#chrom,pos\nchr1,7\n", {"#chrom": ["chr1"], "pos": [7]}),
        ("id,colour\n1,#ff0000\n2,#00ff00\n", {"id": [1, 2], "colour": ["#ff0000", "#00ff00"]}),
        ("#id,b\n#1,2\n#3,4\n", {"#id": ["#1", "#3"], "b": [2, 4]}),
        ("a   b\n1   2\n 3  4\n", {"a": [1, 3], "b": [2, 4]}),
        ("full name\nAda Lovelace\n", {"full name": ["Ada Lovelace"]}),
        ("x\n1\n2\n", {"x": [1, 2]}),
        ("2019,2020\n1,2\n", {"2019": [1], "2020": [2]}),
        ("a,b\r1,2\r", {"a": [1], "b": [2]}),
        ("\ufeffa,b\n1,2\n", {"a": [1], "b": [2]}),
        ("\ufeffa;b\n1,5;2\n", {"a": [1.5], "b": [2]}),
        ("a,b\n1,2\n".encode("utf-16-le"), {"a": [1], "b": [2]}),
        ("a,b\n1,2\n".encode("utf-32"), {"a": [1], "b": [2]}),
        ("é,b\n1,2 €\n".encode("cp1252"), {"é": [1], "b": ["2 €"]}),
        (gzip.compress(b"a;b\n1;2\n", mtime=0), {"a": [1], "b": [2]}),
        (bz2.compress(b"a\tb\n1\t2\n"), {"a": [1], "b": [2]}),
        (lzma.compress(b"a|b\n1|2\n"), {"a": [1], "b": [2]}),
        ("ip,n\n10.0.0.1,1\n10.0.0.2,2\n", {"ip": ["10.0.0.1", "10.0.0.2"], "n": [1, 2]}),
        ("day;n\n01.02.2020;1,5\n", {"day": ["01.02.2020"], "n": [1.5]}),
        ("n,big\n1,123456789012345678901234567890\n", {"n": [1], "big": ["123456789012345678901234567890"]}),
    ],
)
def test_what_people_have_is_recognised(content: str | bytes, right: dict[str, list[Any]], tmp_path: Path) -> None:
    found = reading(content, tmp_path)
    assert {name: [None if pd.isna(value) else value for value in values] for name, values in found.items()} == {
        name: [int(value) if name == "big" else value for value in values] for name, values in right.items()
    } or found == right


def test_what_a_person_says_is_believed(tmp_path: Path) -> None:
    content = 'a,b\n"1,234",x\n"5,678",y\n'
    assert reading(content, tmp_path, **tables.options(["decimal=,"]))["a"] == [1.234, 5.678]
    assert reading(content, tmp_path, **tables.options(["thousands=,"]))["a"] == [1234, 5678]
    assert reading("a;b\n1;2\n", tmp_path, **tables.options(["sep=|"])) == {"a;b": ["1;2"]}
    assert tables.options([r"sep=\t", "skiprows=2", "skipinitialspace=true"]) == {
        "sep": "\t",
        "skiprows": 2,
        "skipinitialspace": True,
    }
    for text in ("sep", "nosuch=1", "skiprows=x", "sep=ab", "encoding=nosuch", "compression=zip", "engine=python", ""):
        with pytest.raises(errors.ProjectError) as caught:
            tables.options([text])
        assert caught.value.exit_code == 64, text


@pytest.mark.parametrize(
    "read",
    [
        {"encoding": "base64"},
        {"skiprows": -1},
        {"converters": {}},
        {"sep": 1},
        {"skiprows": True},
        {"skiprows": "1"},
        [],
        "sep=;",
        {"storage_options": {}},
        {1: 2},
    ],
)
def test_read_may_not_say_anything_else(read: Any) -> None:
    with pytest.raises(errors.ProjectError, match="cannot be"):
        tables.require_known(read)


def test_what_comes_late_in_a_file_counts_too(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i}\n" for i in range(200_000))
    assert "line 200002 has 3 values" in refusal(f"a,b\n{rows}1,2,3\n", tmp_path)
    assert "line 200002 has 1 values" in refusal(f"a,b\n{rows}1\n", tmp_path)
    file = tmp_path / "late.csv"
    file.write_text("a;b\n" + rows.replace(",", ";") + "1;0,5\n")
    assert recognised(file)["b"].iloc[-1] == 0.5
    file.write_bytes(b"a,b\n" + rows.replace(",", ",x").encode() + "1,é\n".encode("latin-1"))
    assert recognised(file)["b"].iloc[-1] == "é"


def test_row_numbers_without_a_name_do_no_harm_where_nothing_is_learned(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    for sep in ",;":
        file.write_text(",a,b\n0,1,2\n1,3,4\n".replace(",", sep))
        how = recognition.recognise(file, file, nameless=True)
        assert tables.load(file, how)[["a", "b"]].to_dict("list") == {"a": [1, 3], "b": [2, 4]}


def test_no_entry_says_what_is_usual(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    for content, how in (
        ("a,b\n1,2\n", {}),
        ("a,b,\n1,2,\n", {"sep": ","}),
        ("a;b\n1,5;2\n", {"sep": ";", "decimal": ","}),
    ):
        file.write_text(content)
        assert recognition.recognise(file, file) == how
    for name, kind in (
        ("a.CSV", ".csv"),
        ("a.b.csv.gz", ".csv.gz"),
        ("a.parquet", ".parquet"),
        ("a.xlsx", ""),
        ("a", ""),
    ):
        assert tables.suffix(name) == kind


@pytest.fixture
def features(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What a new project makes of a table."""
    of_tables = FOLDER.parents[1] / "{{ '.' if task != 'images' }}" / FOLDER.parent.name
    source = (of_tables / "features.py").read_text("utf-8")
    module = ModuleType("features_under_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    text = source.replace("from .settings import Settings", "Settings = object")
    exec(text.replace("from .reproducibility", f"from {errors.__name__}"), vars(module))
    return module


CONF = SimpleNamespace(dataset="d", target="y", drop=["gone"])


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e300])
def test_infinite_values_are_named_with_their_column(value: float, features: ModuleType) -> None:
    """Of the features and of the target; also what is infinite in single precision."""
    table = pd.DataFrame({"speed [m/s]": [1, 2, 3, 4], "b": [True, False, True, False], "gone": [value] * 4})
    table = table.assign(n=pd.array([1, None, 3, 4], "Int64"), gap=[0.5, None, 1e30, 2], y=[0.0, 1.0, 0.0, 1.0])
    assert list(features.columns(table, CONF)[0].dtypes) == ["float64"] * 4
    for wrong in ("speed [m/s]", "y"):
        changed = table.astype({wrong: "float64"})
        changed.loc[[1, 3], wrong] = value
        with pytest.raises(errors.ProjectError) as caught:
            features.columns(changed, CONF)
        assert f"{wrong} in 2 of 4 rows, the first is row 2" in caught.value.cause
    features.columns(table.assign(y=["a", "b", "a", "b"]), CONF)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 3], "float64"),
        ([True, None, False], "float64"),
        ([Decimal("1.5"), None], "float64"),
        (["2026-11-27", None, "2024-02-29"], "datetime64"),
        (["2026-11-27 13:45", "2026-11-27T13:45:10.5"], "datetime64"),
        (["2026-11-27", "2025-02-29"], "str"),  # there was none
        (["2026-11-27", "soon"], "str"),
        (["2026", "2025"], "str"),
        (["red", None, 7], "str"),
        ([None, None], "str"),
    ],
)
def test_a_column_is_of_numbers_dates_or_texts(values: list[Any], kind: str, features: ModuleType) -> None:
    found = features.typed(pd.Series(values, dtype=object))
    assert str(found.dtype).startswith(kind)
    assert list(found.isna()) == [value is None for value in values]
