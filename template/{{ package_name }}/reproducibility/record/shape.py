"""What a record holds, and of which types: what the rest of the harness takes for granted of one that was read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .schema import SCHEMA_VERSION

#: Of a key that releases brought without another schema, or that only some records have: it is asked for with care.
OPTIONAL = SCHEMA_VERSION + 1
_DIGESTS = _TEXTS = {str: str}
_REPOSITORY = {
    **dict.fromkeys(("tree", "folder", "remote", "branch", "patch"), (2, str)),
    **dict.fromkeys(("commit", "dirty"), (1, str)),
    "left_out": (2, [dict.fromkeys(("path", "why", "digest"), (1, str))]),
    "converted": (3, _DIGESTS),
}
#: An object names its keys, each with the schema that brought it and what it holds; or it says what all of them are.
RECORD: dict[str, Any] = {
    "schema": (1, int),
    "project": (2, str),
    "code": (1, {**_REPOSITORY, "modules": (2, _DIGESTS), "repositories": (3, [{**_REPOSITORY, "path": (3, str)}])}),
    "launch": (1, _TEXTS),
    "environment": (
        1,
        {
            "lock": (1, str),
            **dict.fromkeys(("python", "machine", "libc"), (2, str)),
            **dict.fromkeys(("cpu_features", "gpu"), (2, [str])),
            **dict.fromkeys(("variables", "packages"), (2, _TEXTS)),
            "blas": (2, [{"library": (1, str), "kernel": (1, str | None)}]),
            "precision": (OPTIONAL, {str: object}),
        },
    ),
    "data": (
        1,
        {
            str: {
                **dict.fromkeys(("path", "digest", "source", "licence"), (1, str)),
                "size": (1, int),
                "read": (OPTIONAL, {str: object}),
            }
        },
    ),
    **dict.fromkeys(("step", "given"), (OPTIONAL, str)),
    "inputs": (
        OPTIONAL,
        {
            str: {
                **dict.fromkeys(("address", "uri", "run", "digest"), (1, str)),
                "size": (1, int),
                "version": (OPTIONAL, str),
            }
        },
    ),
    "outputs": (OPTIONAL, {str: _DIGESTS}),
    "model": (2, {"kind": (2, str), "files": (3, _DIGESTS)}),
    "stages": (1, _DIGESTS),
    "metrics": (1, _TEXTS),
    "result": (1, str),
    "files": (3, _DIGESTS),
}


def wrong(content: Any, shape: Any, schema: int, where: str) -> Iterator[str]:
    """Name what a record of a schema lacks, or has of another type: one phrase each.

    Parameters
    ----------
    content : Any
        What was read.
    shape : Any
        What it must be: a type, a list of one shape, or an object, as `RECORD` is.
    schema : int
        That of the record.
    where : str
        What messages call the content.
    """
    if isinstance(shape, list) and isinstance(content, list):
        for number, one in enumerate(content):
            yield from wrong(one, shape[0], schema, f"{where}[{number}]")
    elif isinstance(shape, dict) and isinstance(content, dict):
        every, names = (shape[str], {}) if str in shape else (object, shape)
        missing = (name for name, (since, _) in names.items() if since <= schema and name not in content)
        yield from (f"{where} has no {name!r}" for name in missing)
        for name, one in content.items():
            yield from wrong(one, names[name][1] if name in names else every, schema, f"{where}: {name}")
    elif isinstance(shape, list | dict) or not isinstance(content, shape):
        yield f"{where} is of another type"
