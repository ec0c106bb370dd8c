"""Records that are not executed again: they name no code, or places outside the checkout."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..record.schema import Record
from ..source.checkout import outside


def require_confined(record: Record) -> None:
    """Refuse a record that leads out of the checkout, into git's own folder, or has options where git wants names.

    Raises
    ------
    ProjectError
        If there is one.
    """
    code = record.content["code"]
    for one in (code, *code.get("repositories", [])):
        if not re.fullmatch("[0-9a-f]{40}([0-9a-f]{24})?", one["commit"]) or one["remote"].startswith("-"):
            raise ProjectError(f"the record names {one['commit']} of {one['remote']!r}.", "Do not trust this record.")
    named = [".", *(entry["path"] for entry in code["left_out"] if not Path(entry["path"]).is_absolute())]
    named += [*code.get("converted", {}), *(entry["path"] for entry in record.content["data"].values())]
    for inner in code.get("repositories", []):
        named += [str(Path(inner["path"], inner["folder"], path)) for path in (".", *inner["converted"])]
    for path in named:
        lexical = Path(os.path.normpath(Path(code["folder"], path)))
        if lexical.is_absolute() or {"..", ".git"} & {part.lower() for part in lexical.parts}:
            raise outside(lexical)


def require_git(record: Record) -> None:
    """Refuse what cannot be executed again because its code was not kept.

    Raises
    ------
    ProjectError
        With exit code 2.
    """
    code = record.content["code"]
    if code.get("refused"):
        raise ProjectError(
            f"run {record.name} names no commit, since git refused to tell it:\n{code['refused']}",
            "Do what git said then, and run it anew.",
            CANNOT_BE_TRIED,
        )
    if code["commit"] == "none":
        raise ProjectError(
            f"run {record.name} was made outside git: its code is in no commit.",
            'git init && git add -A && git commit -m "Start", then run it anew.',
            CANNOT_BE_TRIED,
        )
    if record.content["schema"] == 1 and code["dirty"] != "false":
        raise ProjectError(
            f"run {record.name} had uncommitted work, which its record (schema 1) does not hold.",
            f"Its commit is {code['commit']}. Run it anew: today's records hold uncommitted work.",
            CANNOT_BE_TRIED,
        )
