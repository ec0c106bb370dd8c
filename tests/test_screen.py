"""What is kept of a training's output is what a terminal shows in the end; the oracle is pyte, a terminal in Python."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress, track
from rich.status import Status

import harness

screen = harness.load("training.screen")


def left(output: str) -> list[str]:
    return [line.decode() for line in screen.left(io.BytesIO(output.encode()))]


def shown(output: str) -> list[str]:
    """What pyte shows, in which, unlike in a file, a new line begins in the same column."""
    display = pyte.Screen(120, 200)
    pyte.Stream(display).feed(output.replace("\n", "\r\n"))
    lines = [line.rstrip() for line in display.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def bars(console: Console) -> None:
    with Progress(console=console) as progress:
        first, second = progress.add_task("load", total=3), progress.add_task("train", total=3)
        for number in range(3):
            progress.update(first, advance=1, refresh=True)
            console.print(f"epoch {number}")
            progress.update(second, advance=1, refresh=True)


def transient(console: Console) -> None:
    console.print("before")
    with Progress(console=console, transient=True) as progress:
        progress.add_task("gone", total=None)
        console.print("between")
    console.print("after")


def spinner(console: Console) -> None:
    with Status("gone", console=console) as status:
        status.update("gone too")
    console.print("after")


def keras(console: Console) -> None:
    for step in range(3):
        console.file.write(f"\r\x1b[1m{step}/3\x1b[0m loss: 0.{step}")
    console.file.write("\r\x1b[1m3/3\x1b[0m loss: 0.9 done\n\n")


def tracked(console: Console) -> None:
    for number in track(range(3), "rows", console=console):
        console.print("row", number)


@pytest.mark.parametrize("draw", [bars, transient, spinner, keras, tracked])
def test_what_libraries_draw_is_kept_as_it_ended(draw: Callable[[Console], None]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, get_time=lambda: 0.0)
    draw(console)
    output = console.file.getvalue()  # type: ignore[attr-defined]
    assert left(output) == shown(output) != []


#: What moves the cursor, in every way that is followed, and what only looks so.
MOVES = (
    "a",
    "bcd",
    "\n",
    "\r",
    "\b",
    *(f"\x1b[{count}{kind}" for kind in "ABCDGK" for count in ("", 1, 2)),
    "\x1b[1;32m",
)


@given(st.lists(st.sampled_from(MOVES)))
def test_every_move_is_followed(parts: list[str]) -> None:
    output = "".join(parts)
    assert left(output) == shown(output)


def test_a_long_output_is_read_in_one_pass_and_its_old_lines_stay() -> None:
    lines = [f"line {number}" for number in range(20_000)]
    began = time.process_time()
    assert left("\n".join(lines) + "\n\x1b[500A\x1b[2Kover") == [*lines[:-99], "over", *lines[-98:]]
    assert time.process_time() - began < 5
