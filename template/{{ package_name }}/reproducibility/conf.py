"""The conf file: read, overridden for one run, and turned into the project's typed settings."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .common.errors import ProjectError
from .common.exit_codes import USAGE
from .common.project import ROOT
from .common.strict_yaml import parse, short

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

#: The project's class of settings.
Schema = TypeVar("Schema", bound="BaseModel")
#: The key of a conf that names what a step takes from other runs.
INPUTS = "inputs"
#: A conf is written by hand: what is larger by far is another file, or made to stop whoever reads it.
LIMIT_BYTES = 1_000_000


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
    return override(read(content, str(path)), overrides)


def read(content: bytes, name: str) -> dict[str, Any]:
    """Read what a conf file holds.

    Parameters
    ----------
    content : bytes
        YAML.
    name : str
        What a person calls the file.
    """
    try:
        conf = parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ProjectError(f"the conf {name} is not valid YAML:\n{error}", "Save it as UTF-8.") from error
    except ProjectError as error:
        raise ProjectError(f"the conf {name} is {error.cause}", error.fix) from error
    if not isinstance(conf, dict):
        raise ProjectError(f"the conf {name} is not a list of `key: value` lines.", "git diff confs")
    return conf


def override(conf: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """Apply the overrides of one run to its settings, and give these back."""
    for text in overrides:
        _apply(conf, text)
    return conf


def put(conf: dict[str, Any], path: str, value: Any) -> None:
    """Give a setting of a conf another value.

    Parameters
    ----------
    conf : dict
        Changed in place.
    path : str
        Its name, after those of its sections: `model.depth`.
    value : Any
        The value.

    Raises
    ------
    ProjectError
        With exit code 64, if a section of the path is a value.
    """
    *sections, key = path.strip().split(".")
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
        raise ProjectError(
            f"the conf does not fit settings.py:\n{problems(error)}",
            "Correct the value or the spelling in the conf or in --set; settings.py says what each key means.",
        ) from error


def problems(error: ValidationError) -> str:
    """Name what does not fit, a line each and a dozen at most."""
    found = error.errors(include_url=False, include_context=False)
    lines = [f"  {'.'.join(map(str, e['loc'])):.80}: {e['msg']:.200}, found {short.repr(e['input'])}" for e in found]
    if len(lines) > 12:
        lines[10:] = [f"  and {len(lines) - 10:,} more"]
    return "\n".join(lines)


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
    if not equals or not path.strip() or path.strip().endswith("."):
        raise ProjectError(f"--set {short.repr(override)} cannot be read.", "--set section.key=value", exit_code=USAGE)
    try:
        value = parse(text)
    except ProjectError as error:
        raise ProjectError(
            f"--set {short.repr(override)} cannot be read: {error.cause}", "--set section.key=value", exit_code=USAGE
        ) from error
    put(conf, path, value)


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
