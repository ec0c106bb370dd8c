"""The conf file: read, overridden for one run, and turned into the project's typed settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .project import ROOT, ProjectError

if TYPE_CHECKING:
    from pydantic import BaseModel


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, instead of the last one winning silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        plain = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in plain]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", plain[position].start_mark
                )
        return super().construct_mapping(node, deep)


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
        conf = yaml.load(path.read_text("utf-8"), _UniqueKeys)  # noqa: S506 - a subclass of SafeLoader
    except OSError as error:
        raise ProjectError(
            f"the conf {path} cannot be read: {error.strerror}.",
            "Give --config a file that is there: "
            + ", ".join(str(found.relative_to(ROOT)) for found in sorted(ROOT.glob("confs/*.yaml"))),
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectError(f"the conf {path} is not valid YAML:\n{error}", "Mend that line.") from error
    if not isinstance(conf, dict):
        raise ProjectError(f"the conf {path} is not a list of `key: value` lines.", "git diff confs")
    return override(conf, overrides)


def override(conf: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """Apply the overrides of one run to its settings, and give these back."""
    for text in overrides:
        _apply(conf, text)
    return conf


def validate(conf: dict[str, Any], schema: type[BaseModel]) -> BaseModel:
    """Turn a conf into the project's settings.

    Raises
    ------
    ProjectError
        Naming every key that is unknown, missing or of a wrong value.
    """
    from pydantic import ValidationError

    try:
        return schema.model_validate(conf)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}, found {e['input']!r}" for e in error.errors()]
        raise ProjectError(
            "the conf does not fit settings.py:\n" + "\n".join(lines),
            "Correct the value or the spelling in the conf or in --set; settings.py says what each key means.",
        ) from error


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
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        equals = ""
    if not equals or not key:
        raise ProjectError(f"--set {override!r} cannot be read.", "--set section.key=value", exit_code=64)
    target = conf
    for section in sections:
        # A section of its own: in YAML two keys may share one by an alias.
        target[section] = dict(target[section]) if isinstance(target.get(section), dict) else target.get(section, {})
        target = target[section]
        if not isinstance(target, dict):
            raise ProjectError(
                f"--set {path}: {section!r} is a value, not a section.", "The conf shows the sections.", 64
            )
    target[key] = value
