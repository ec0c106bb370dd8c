"""Ctrl-C and SIGTERM: one interrupt, however many signals it comes as, and never while something is taken back."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

#: A terminal signals every process of a command, and each may pass it on: seconds in which it is one interrupt.
ONE = 1.0


def numbers() -> list[int]:
    """List the signals that end a command, as far as the system has them and nobody had them ignored.

    Without those of a program around Python (None), which could not be given back.
    """
    found = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")]
    return [number for number in found if number and signal.getsignal(number) not in (signal.SIG_IGN, None)]


@contextlib.contextmanager
def as_one() -> Iterator[None]:
    """Turn the signals that end a command into one `KeyboardInterrupt`, so that what was begun is taken back."""
    last = -ONE

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before >= ONE:
            raise KeyboardInterrupt

    former = {number: signal.signal(number, interrupt) for number in numbers()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Do something that no signal may cut short, such as taking back what was begun."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in numbers()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
