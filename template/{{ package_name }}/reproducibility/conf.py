"""The conf file: read, overridden for one run, and turned into the project's typed settings."""

from __future__ import annotations

import errno
import reprlib
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from .common.errors import ProjectError
from .common.exit_codes import USAGE
from .common.project import ROOT

if TYPE_CHECKING:
    from pydantic import BaseModel

#: The project's class of settings.
Schema = TypeVar("Schema", bound="BaseModel")
#: The key of a conf that names what a step takes from other runs.
INPUTS = "inputs"
#: A conf is written by hand: what is larger by far is another file, or made to stop whoever reads it.
LIMIT_BYTES, LIMIT_VALUES, LIMIT_DEPTH = 1_000_000, 50_000, 50
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
    """Read YAML that a person may have written, or somebody who means harm.

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
        If it is not YAML, or is larger or deeper than any conf: with the line, in less than a screen.
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


def load(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a conf file and apply the overrides of one run.

    Parameters
    ----------
    path : Path
        A YAML file.
    overrides : tuple of str
        Each `key=value` or `section.key=value`; the value is YAML.

    Returns
    -------
    dict
        As read, not yet validated.

    Raises
    ------
    ProjectError
        If the file or an override cannot be read.
    """
    try:
        content = _read(path)
    except OSError as error:
        raise ProjectError(
            f"the conf {path} cannot be read: {error.strerror}.",
            "Give --config a file that is there: "
            + ", ".join(str(found.relative_to(ROOT)) for found in sorted(ROOT.glob("confs/*.yaml"))),
        ) from error
    try:
        conf = parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ProjectError(f"the conf {path} is not valid YAML:\n{error}", "Save it as UTF-8.") from error
    except ProjectError as error:
        raise ProjectError(f"the conf {path} is {error.cause}", error.fix) from error
    if not isinstance(conf, dict):
        raise ProjectError(f"the conf {path} is not a list of `key: value` lines.", "git diff confs")
    return override(conf, overrides)


def override(conf: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """Apply the overrides of one run to its settings, and give these back."""
    for text in overrides:
        _apply(conf, text)
    return conf


def validate(conf: dict[str, Any], schema: type[Schema]) -> Schema:
    """Turn a conf into the project's settings. `inputs` are the harness's own, unless the class has them.

    Raises
    ------
    ProjectError
        Naming every key that is unknown, missing or of a wrong value.
    """
    from pydantic import ValidationError

    if not declares_inputs(schema):
        conf = {key: value for key, value in conf.items() if key != INPUTS}
    try:
        return schema.model_validate(conf)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        lines = [
            f"  {'.'.join(map(str, e['loc'])):.80}: {e['msg']:.200}, found {short.repr(e['input'])}" for e in found
        ]
        if len(lines) > 12:
            lines[10:] = [f"  and {len(lines) - 10:,} more"]
        raise ProjectError(
            "the conf does not fit settings.py:\n" + "\n".join(lines),
            "Correct the value or the spelling in the conf or in --set; settings.py says what each key means.",
        ) from error


def declares_inputs(schema: type[BaseModel]) -> bool:
    """Tell whether a class of settings has the inputs of a step among its own."""
    return INPUTS in schema.model_fields


def flatten(conf: dict[str, Any], prefix: str = "conf") -> dict[str, Any]:
    """Name every value by its path: `{"model": {"depth": 5}}` becomes `{"conf.model.depth": 5}`."""
    flat: dict[str, Any] = {}
    for key, value in conf.items():
        path = f"{prefix}.{key}"
        flat.update(flatten(value, path) if isinstance(value, dict) else {path: value})
    return flat


def _apply(conf: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    *sections, key = path.strip().split(".")
    if not equals or not key:
        raise ProjectError(f"--set {short.repr(override)} cannot be read.", "--set section.key=value", exit_code=USAGE)
    try:
        value = parse(text)
    except ProjectError as error:
        raise ProjectError(
            f"--set {short.repr(override)} cannot be read: {error.cause}", "--set section.key=value", exit_code=USAGE
        ) from error
    target = conf
    for name in sections:
        section = _key(target, name)
        # A section of its own: in YAML two keys may share one by an alias.
        target[section] = dict(target[section]) if isinstance(target.get(section), dict) else target.get(section, {})
        target = target[section]
        if not isinstance(target, dict):
            raise ProjectError(
                f"--set {path}: {section!r} is a value, not a section.", "The conf shows the sections.", USAGE
            )
    target[_key(target, key)] = value


def _key(section: dict[Any, Any], name: str) -> Any:
    """Find the key that the command line means: `1` of the conf is a number, of `--set` a text."""
    return next((key for key in section if str(key) == name), name)


def _read(path: Path) -> bytes:
    """Read a file of which nobody knows how large it is, or whether it ends."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise OSError(errno.EINVAL, "it is no file")
    with path.open("rb") as file:
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {LIMIT_BYTES:,} bytes, and a conf is written by hand")
    return content
