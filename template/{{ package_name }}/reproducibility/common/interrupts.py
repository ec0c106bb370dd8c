"""Signals that end a command, as one interrupt, which never comes while a run is begun or ended."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any


def numbers() -> list[int]:
    """List the signals that end a command, as far as the system has them and nobody had them ignored.

    Without those of a program around Python (None), which could not be given back.
    """
    found = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")]
    return [number for number in found if number and signal.getsignal(number) not in (signal.SIG_IGN, None)]


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
    As a context manager it holds signals until `allow`, and at its end gives them back to whoever had them. In another
    thread than the main one, which alone may receive signals, it does nothing.

    Parameters
    ----------
    last : bool
        Whether the process ends with what is done here. Then signals are not given back: a second one would end it
        in the middle of its last words.
    """

    def __init__(self, last: bool) -> None:
        self._final = last
        self._held = True
        self._received: float | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        """Hold signals from now on; a thread besides the main one gets none."""
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._receive) for number in numbers()}
        return self

    def __exit__(self, *_: object) -> None:
        """Give signals back to whoever had them, where the process goes on."""
        if not self._final:
            for number, former in self._former.items():
                signal.signal(number, former)

    def allow(self) -> None:
        """Interrupt from now on, and at once if a signal came before."""
        self._held = False
        if self._received is not None:
            raise KeyboardInterrupt

    def hold(self) -> None:
        """Interrupt no more."""
        self._held = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        answered = self._received is not None and now - self._received < 1
        self._received = now
        if not self._held and not answered:
            raise KeyboardInterrupt
