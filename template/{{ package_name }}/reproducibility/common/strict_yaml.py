"""YAML that a person may have written, or somebody who means harm: plain values, each key once, and not too many."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any

import yaml

from .errors import ProjectError

#: A file is written by hand: what is larger by far is another one, or made to stop whoever reads it.
LIMIT_VALUES, LIMIT_DEPTH = 50_000, 50
#: Characters of a number, a date or a truth; a text may have any.
LIMIT_SCALAR = 1_000
TEXT_TAG, MERGE_TAG = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
#: What error messages show of a value.
short = reprlib.Repr()
short.maxstring = short.maxother = short.maxlong = 60


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML in which a key that stands twice is an error, and so is a value that is not what its tag says."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.checked: set[yaml.Node] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Once for each, and before `<<` is resolved: after that overridden keys stand twice.
        if node not in self.checked:
            self.checked.add(node)
            self._refuse_twice([key for key, _ in node.value])
        super().flatten_mapping(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.tag != TEXT_TAG and len(node.value) > LIMIT_SCALAR:
            raise _problem(f"{short.repr(node.value)} is too long for a number", node)
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            raise _problem(f"{short.repr(node.value)} is no {node.tag.rpartition(':')[2]}", node) from error

    def _refuse_twice(self, keys: list[yaml.Node]) -> None:
        found = set()
        for node in keys:
            key = "<<" if node.tag == MERGE_TAG else self.construct_object(node, deep=True)
            try:
                if key in found:
                    raise _problem(f"the key {short.repr(key)} stands twice", node)
                found.add(key)
            except TypeError as error:
                raise _problem(f"{short.repr(key)} cannot be a key", node) from error


def _problem(what: str, place: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(None, None, what, place.start_mark)


def parse(text: str) -> Any:
    """Read YAML.

    Parameters
    ----------
    text : str
        One document.

    Returns
    -------
    Any
        What it says: plain values, lists and dicts.

    Raises
    ------
    ProjectError
        If it is none, or is larger or deeper than anybody writes: with the line, in less than a screen.
    """
    try:
        _require_small(yaml.parse(text, _Loader))
        return yaml.load(text, _Loader)  # noqa: S506 - a subclass of SafeLoader
    except (yaml.YAMLError, UnicodeError) as error:
        lines = [line[:160] for line in str(error).splitlines()[:8]]
        raise ProjectError("not valid YAML:\n" + "\n".join(lines), "Mend that line.") from error


def _require_small(events: Iterable[yaml.Event]) -> None:
    """Count what a document holds with every alias written out, before anything of it is built."""
    anchors: dict[str | None, tuple[int, int]] = {}  # values and levels below
    opened: list[tuple[str | None, int]] = []  # anchor, and how many values stood before
    heights = [0]
    count = 0
    for event in events:
        height = 0
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, count))
            heights.append(0)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            height = heights.pop() + 1
            if anchor is not None:
                anchors[anchor] = count - before, height
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in [anchor for anchor, _ in opened]:
                raise _problem(f"*{event.anchor} holds itself", event)
            values, height = anchors.get(event.anchor, (1, 0))
            count += values
        heights[-1] = max(heights[-1], height)
        count += 1
        if len(opened) + height > LIMIT_DEPTH or count > LIMIT_VALUES:
            raise _problem(
                f"more than {LIMIT_DEPTH} levels or {LIMIT_VALUES:,} values, with every alias written out", event
            )
