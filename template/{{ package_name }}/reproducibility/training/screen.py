"""What a terminal shows of an output in the end: bars that were written over, and lines that were taken away, are not.

It follows how programs that show their progress move the cursor (ECMA-48): along the line, up and down, and erasing.
Colours, and what fills the screen as an editor does, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: How many lines above the last one can still change.
HEIGHT = 100
#: How far a move goes at most: no program's mistake shall fill the memory.
FARTHEST = 1000
#: A move of the cursor, what only gives colours, or text.
TOKEN = re.compile(
    r"\x1b\[(?P<count>\d*)(?P<move>[ABCDGK])|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])"
    r"|(?P<control>[\n\r\b])|(?P<text>[^\x1b\n\r\b]+|\x1b)"
)


class _Screen:
    """The lines that can still change, and the cursor."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0

    def control(self, character: str) -> None:
        self.column = max(0, self.column - 1) if character == "\b" else 0
        if character == "\n":
            self.row += 1
            self.lines += [""] * (self.row == len(self.lines))

    def move(self, kind: str, count: str) -> None:
        line, steps = self.lines[self.row], min(int(count or 1), FARTHEST)
        if kind == "K":
            before, after = line[: self.column], " " * (self.column + 1) + line[self.column + 1 :]
            self.lines[self.row] = {"": before, "0": before, "1": after}.get(count, "")
        elif kind in "AB":
            self.row = max(0, self.row + (steps if kind == "B" else -steps))
            self.lines += [""] * (self.row + 1 - len(self.lines))
        else:
            self.column = max(0, {"C": self.column + steps, "D": self.column - steps, "G": steps - 1}[kind])

    def write(self, text: str) -> None:
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + text + line[self.column + len(text) :]
        self.column += len(text)


def left(raw: Iterable[bytes]) -> Iterator[bytes]:
    """Give the lines that are left of an output, without what is blank at their ends.

    Parameters
    ----------
    raw : iterable of bytes
        The output, line by line.
    """
    screen = _Screen()
    for line in raw:
        for token in TOKEN.finditer(line.decode("utf-8", "surrogateescape")):
            if token["text"]:
                screen.write(token["text"])
            elif token["control"]:
                screen.control(token["control"])
            elif token["move"]:
                screen.move(token["move"], token["count"])
        while len(screen.lines) > HEIGHT:
            yield _stored(screen.lines.pop(0))
            screen.row -= 1
    while screen.lines and not screen.lines[-1].strip():
        screen.lines.pop()
    yield from map(_stored, screen.lines)


def _stored(line: str) -> bytes:
    return line.rstrip().encode("utf-8", "surrogateescape")
