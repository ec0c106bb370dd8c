"""Whatever stands in a conf: settings, or one screen that says why not, within a second."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from harness import load

conf = load("conf")
errors, strict_yaml = load("common.errors"), load("common.strict_yaml")


class Model(BaseModel):
    """A section, as projects have it."""

    model_config = ConfigDict(extra="forbid")

    depth: int | None = None
    rate: float = 0.1


class Settings(BaseModel):
    """The settings of a project."""

    model_config = ConfigDict(extra="forbid")

    seed: int
    name: str = "x"
    drop: list[str] = []
    weights: dict[int, float] = {}
    model: Model = Model()


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x0: 1, y0: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}, *a{i - 1}], x{i}: 1}}\n" for i in range(1, 30)
)
HOSTILE = {
    "a number that is none": "seed: !!int abc",
    "no number at all": "seed: !!int ''",
    "a truth that is none": "seed: !!bool maybe",
    "a date that is none": "seed: !!timestamp soon",
    "an impossible date": "seed: 2026-13-45",
    "an impossible time": "seed: 2026-01-01T99:99:99Z",
    "an impossible time zone": "seed: 2026-01-01T00:00:00+99:99",
    "a time before all time": "seed: 0001-01-01T00:00:00+23:00",
    "5,000 digits": f"seed: {'9' * 5000}",
    "5,000 hexadecimal digits": f"seed: 0x{'f' * 5000}",
    "a number of minutes without end": f"seed: {'1:' * 200_000}1",
    "3,000 brackets": f"seed: {'[' * 3000}",
    "3,000 brackets that close": f"seed: {'[' * 3000}{']' * 3000}",
    "3,000 braces": f"seed: {'{a: ' * 3000}1{'}' * 3000}",
    "3,000 indents": "\n".join(" " * i + "a:" for i in range(900)),
    "100,000 dashes": "- " * 100_000,
    "an alias bomb": BOMB,
    "a bomb of merges": MERGES,
    "levels by aliases": "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200)),
    "a list that holds itself": "seed: &a [*a]",
    "a section that holds itself": "seed: &a {a: *a}",
    "a section merged into itself": "&a {<<: *a}",
    "an alias of nothing": "seed: *nowhere",
    "a tab": "model:\n\tdepth: 1",
    "an object of Python": "seed: !!python/object/apply:os.system [exit 1]",
    "a name of Python": "seed: !!python/name:os.system",
    "a tag of nobody": f"seed: !{'x' * 5000} 1",
    "NUL": "seed: 1\0",
    "a control character": "seed: 1\x07",
    "two documents": "seed: 1\n---\nseed: 2",
    "a directive": "%YAML 9.9\n---\nseed: 1",
    "a key twice": "seed: 1\nseed: 2",
    "a long key twice": f"{'k' * 100_000}: 1\n{'k' * 100_000}: 2",
    "a key twice, in other words": "1: 1\n0x1: 2",
    "two merges": "a: &a {x: 1}\nb: {<<: *a, <<: *a}",
    "a merge of a number": "seed: {<<: 1}",
    "a list for a key": "[a]: 1",
    "a section for a key": "{a: 1}: 1",
    "40,000 unknown keys": "\n".join(f"k{i}: 1" for i in range(40_000)),
    "40,000 keys in a place for one": "seed: {" + ", ".join(f"k{i}: 1" for i in range(40_000)) + "}",
    "more values than any conf has": "seed: [" + "1, " * 60_000 + "1]",
    "a long text for a number": f"seed: {'x' * 500_000}",
    "a number for a key": "1: 1\nseed: 1",
    "nothing for a key": "~: 1\nseed: 1",
    "a date for a key": "2026-01-01: 1\nseed: 1",
    "a set": "seed: 1\nname: !!set {a, b}",
    "bytes for a section": "seed: 1\nmodel: !!binary gIGC",
    "bytes that are none": "seed: 1\nname: !!binary ä",
    "not a number": "seed: .nan",
    "infinity": "seed: .inf",
    "an exponent": "seed: 1e400",
    "a larger exponent": "seed: !!float 1e400",
    "a date for a text": "seed: 1\nname: 2026-01-01",
    "yes for a text": "seed: 1\nname: yes",
    "a list": "- seed",
    "a text": "seed",
    "nothing": "",
    "an unknown key": "seed: 1\ntypo: 1",
}


def read(text: str | bytes, folder: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read and validate a conf as a command does, within a second and a screen."""
    file = folder / "train.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.process_time()
    try:
        found: dict[str, Any] = conf.load(file, overrides)
        conf.validate(found, Settings)
        return found
    except errors.ProjectError as error:
        assert len(str(error.cause).splitlines()) <= 16 and len(error.cause) < 2500, error.cause
        raise
    finally:
        assert time.process_time() - started < 1.5


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_conf_is_one_screen_within_a_second(text: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ProjectError) as caught:
        read(text, tmp_path)
    assert caught.value.exit_code == 3


def test_what_people_write_is_read(tmp_path: Path) -> None:
    assert read("\ufeffseed: 1\r\nmodel: {depth: 3}\r\n", tmp_path) == {"seed": 1, "model": {"depth": 3}}
    assert read("seed: 1:30", tmp_path)["seed"] == 90  # YAML 1.1
    assert read("seed: 1\nweights: {0: 1.5, 1: 2}", tmp_path)["weights"] == {0: 1.5, 1: 2}
    assert read("seed: 1\nmodel: {rate: .inf}", tmp_path)["model"]["rate"] == float("inf")
    names = [f"column {i} of a wide table" for i in range(20_000)]
    assert read(yaml.safe_dump({"seed": 1, "drop": names}), tmp_path)["drop"] == names


def test_keys_that_a_merge_overrides_do_not_stand_twice(tmp_path: Path) -> None:
    text = "x: {<<: &b {<<: &a {depth: 1}, depth: 2}, rate: 3}\ny: *b\nz: {<<: [*a, *b]}\n"
    assert strict_yaml.parse(text) == {"x": {"depth": 2, "rate": 3}, "y": {"depth": 2}, "z": {"depth": 1}}


def test_what_is_no_conf_at_all_is_refused(tmp_path: Path) -> None:
    big, pipe = tmp_path / "big.yaml", tmp_path / "pipe.yaml"
    with big.open("wb") as file:
        file.truncate(100_000_000)
    os.mkfifo(pipe)
    for path in (big, pipe, tmp_path, tmp_path / "nowhere.yaml", Path("/dev/zero")):
        with pytest.raises(errors.ProjectError, match="cannot be read"):
            conf.load(path)
    for content in (b"seed: \xff", "seed: 1".encode("utf-16"), b"\x80\x04."):
        with pytest.raises(errors.ProjectError, match="not valid YAML"):
            read(content, tmp_path)


@pytest.mark.parametrize("text", [*HOSTILE.values(), "[a", "*a", "&a [*a]", "!!int x"])
def test_a_hostile_override_is_wrong_usage_or_a_wrong_value(text: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ProjectError) as caught:
        read("seed: 1", tmp_path, (f"model={text}", f"seed={text}", f"{text[:50]}=1"))
    assert caught.value.exit_code in {3, 64}


def test_an_override_finds_keys_that_are_no_text(tmp_path: Path) -> None:
    assert read("seed: 1\nweights: {0: 1, 1: 2}", tmp_path, ("weights.1=3",))["weights"] == {0: 1, 1: 3}


YAMLISH = st.text(alphabet="ab01:-?[]{},&*!|>'\"%@`#~<=. \t\n\\xeé\ufeff\0", max_size=60)
TAGS = st.sampled_from(["int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs", "map", "seq"])
TAGGED = st.builds("k: !!{} {}".format, TAGS, YAMLISH)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=80), YAMLISH, TAGGED, st.binary(max_size=40)))
def test_whatever_the_text_it_is_a_conf_or_refused(text: str | bytes, tmp_path: Path) -> None:
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    try:
        assert isinstance(read(content, tmp_path), dict)
    except errors.ProjectError as error:
        assert error.exit_code == 3
    try:
        read("seed: 1", tmp_path, (content.decode("utf-8", "surrogateescape"), f"seed={text!s}"))
    except errors.ProjectError as error:
        assert error.exit_code in {3, 64}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(value=VALUES)
def test_what_yaml_writes_is_read_as_yaml_reads_it(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert strict_yaml.parse(text) == yaml.safe_load(text)
