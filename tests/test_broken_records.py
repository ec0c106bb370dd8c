"""A record of which a part is gone or of another type is refused, or does no harm: never a fault of the harness."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from records import PARAMS, write_record

from harness import load

GONE = "is gone"
OTHERS: list[Any] = [None, 7, "x", ["x"], [1], {}, {"x": 1}]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Name every key in a tree of objects and lists; of long ones, the first few."""
    if isinstance(node, dict | list):
        for key in list(node if isinstance(node, dict) else range(len(node)))[:4]:
            yield (*path, key)
            yield from places(node[key], (*path, key))


def spoilt(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Take away, or replace by a value of each other type, what stands at every place."""
    for path in places(content):
        for value in (spoilt, *OTHERS):
            changed = copy.deepcopy(content)
            parent = functools.reduce(lambda node, key: node[key], path[:-1], changed)
            if value is spoilt:
                del parent[path[-1]]
            else:
                parent[path[-1]] = value
            yield f"{path} {GONE if value is spoilt else value!r}", changed


def use(folder: Path, run: Any, other: Any) -> None:
    """Do with a record what `reproduce`, `compare` and `promote` do before they execute or store anything."""
    record = load("record.reader").read("r", folder, run)
    load("record.integrity").require_own(record)
    compare = load("proof.compare")
    for sides in ((record, other), (other, record)):
        compare.compare(*sides)
    load("proof.refusals").require_confined(record)
    load("record.fingerprint").dispatch(record.content["environment"])
    load("proof.replay").needs_database(load("proof.replay").Recipe.of(record))
    dict(record.content["model"].get("files") or {})
    str.join(" ", [record.content["project"]])
    for name, entry in record.content["data"].items():
        load("datasets.manifest").Dataset(name=name, **entry).entry()
    for inner in (record.content["code"], *record.content["code"].get("repositories", [])):
        "".join(value for entry in inner["left_out"] for value in (entry["path"], entry["digest"], entry["why"]))
        "".join(inner[name] for name in ("commit", "remote", "branch", "folder", "tree", "patch", "dirty"))


@pytest.mark.parametrize(
    ("schema", "signed"), [(1, False), (2, False), (3, True), (3, False)], ids=["1", "2", "3, and its tag", "3"]
)
def test_a_record_without_a_part_is_refused(schema: int, signed: bool, tmp_path: Path) -> None:
    folder = tmp_path / "record"
    tags = write_record(folder, {})
    file = folder / "record.json"
    content = json.loads(file.read_text()) | {"schema": schema}
    if schema < 3:
        del content["files"], content["code"]["repositories"], content["code"]["converted"], tags["repro.record"]
    if schema < 2:  # it had neither modules nor a fingerprint
        del content["model"], content["project"]
        content["code"] = {name: content["code"][name] for name in ("commit", "dirty")}
        content["environment"] = {"lock": content["environment"]["lock"]}

    def written(content: Any) -> Any:
        file.write_text(json.dumps(content))
        record = {"repro.record": load("common.digest").of_file(file)} if signed else {}
        data = SimpleNamespace(tags=tags | record, params=dict(PARAMS), metrics={"accuracy": 0.5})
        return SimpleNamespace(info=SimpleNamespace(run_id="r"), data=data)

    run = written(content)
    other = load("record.reader").read("o", folder, run)
    if signed or schema < 3:
        use(folder, run, other)
    for what, changed in spoilt(content):
        try:
            use(folder, written(changed), other)
        except load("common.errors").ProjectError as error:
            assert error.exit_code in ((1, 2) if what.endswith(GONE) else (1, 2, 3)), what
            assert error.fix and len(error.cause.splitlines()) < 12 and len(error.cause) < 2000, what
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
