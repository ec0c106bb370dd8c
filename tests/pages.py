"""Pages of Markdown, done as a reader does them: commands are typed, a block with a file's name is that file."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w+)((?: \w+=\"[^\"]*\")*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Parameters
    ----------
    language : str
        Such as "bash".
    body : str
        Its lines.
    title : str
        The file that it is; of a diff, that it edits.
    skip : str
        Why a test cannot do it.
    """

    language: str
    body: str
    title: str = ""
    skip: str = ""


def blocks(text: str) -> list[Block]:
    """Take the blocks of a page apart that name their language."""
    found = FENCE.findall(text)
    assert len(found) == len(re.findall(r"^```\w", text, re.MULTILINE)), "a fence that could not be read"
    return [
        Block(language, body, **dict(re.findall(r"(\w+)=\"([^\"]*)\"", options))) for language, options, body in found
    ]


def script(text: str) -> str:
    """Write what a reader of a page does as one script for bash."""
    return "".join(_done(block) for block in blocks(text) if not block.skip)


def _done(block: Block) -> str:
    if block.language == "bash":
        return block.body
    if not block.title:
        return ""
    place = shlex.quote(block.title)
    if block.language == "diff":
        return f"{shlex.quote(sys.executable)} {shlex.quote(__file__)} {place} <<'EDIT'\n{block.body}EDIT\n"
    return f"cat > {place} <<'FILE'\n{block.body}FILE\n"


def changes(hunks: str) -> Iterator[tuple[str, str]]:
    """Give the old and the new text of each change."""
    for change in hunks.split("@@\n"):
        lines = change.splitlines()
        yield tuple("\n".join(line[1:] for line in lines if line[0] in kept) for kept in ("- ", "+ "))


def edit(file: Path, hunks: str) -> None:
    """Make the changes of a diff in a file; each stands in one place."""
    text = file.read_text("utf-8")
    for old, new in changes(hunks):
        assert text.count(old) == 1, f"{file} has {text.count(old)} of {old!r}"
        text = text.replace(old, new)
    file.write_text(text, "utf-8")


if __name__ == "__main__":
    edit(Path(sys.argv[1]), sys.stdin.read())
