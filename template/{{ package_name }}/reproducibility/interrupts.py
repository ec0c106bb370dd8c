"""Ctrl-C and SIGTERM: one interrupt, however many signals it comes as, and never while a run is begun or ended."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType


def numbers() -> list[int]:
    """List the signals that end a command, as far as the system has them and nobody had them ignored."""
    found = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")]
    return [number for number in found if number and signal.getsignal(number) != signal.SIG_IGN]


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Do something that no signal may cut short, such as taking back what was begun."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in numbers()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class Interrupts:
    """Turns SIGINT, SIGTERM and a closed terminal into one `KeyboardInterrupt`, at a time when it can be answered.

    A terminal's Ctrl-C reaches every process of a command, and MLflow then also terminates the one that it
    waits for. A second interrupt while the first is being answered would leave the run open in the store.
    From the start signals are held, until `allow`.
    """

    def __init__(self) -> None:
        self._held = True
        self._last: float | None = None
        self._former = {number: signal.signal(number, self._receive) for number in numbers()}

    def allow(self) -> None:
        """Interrupt from now on, and at once if a signal came before."""
        self._held = False
        if self._last is not None:
            raise KeyboardInterrupt

    def hold(self) -> None:
        """Interrupt no more."""
        self._held = True

    def restore(self) -> None:
        """Give signals back to whoever had them, where the process goes on after the run."""
        for number, former in self._former.items():
            signal.signal(number, former)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        answered = self._last is not None and now - self._last < 1
        self._last = now
        if not self._held and not answered:
            raise KeyboardInterrupt
