"""Ctrl-C and SIGTERM: one interrupt, however many signals it comes as, and never while a run is begun or ended."""

from __future__ import annotations

import signal
import time
from types import FrameType


class Interrupts:
    """Turns SIGINT, SIGTERM and a closed terminal into one `KeyboardInterrupt`, at a time when it can be answered.

    A terminal's Ctrl-C reaches every process of a command, and MLflow then also terminates the one that it
    waits for. A second interrupt while the first is being answered would leave the run open in the store.
    From the start signals are held, until `allow`.
    """

    def __init__(self) -> None:
        self._held = True
        self._last: float | None = None
        self._former = {}
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):  # not every system has them all
            number = getattr(signal, name, None)
            if number and signal.getsignal(number) != signal.SIG_IGN:  # `nohup` has SIGHUP ignored
                self._former[number] = signal.signal(number, self._receive)

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
