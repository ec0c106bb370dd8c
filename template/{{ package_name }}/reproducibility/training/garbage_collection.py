"""Python's garbage collector: out of the way while imports make millions of objects and none can be collected."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


class Collector:
    """Keeps the collector off, a fifth of the time of a short run, and leaves it as it was found.

    Parameters
    ----------
    last : bool
        Whether the process ends with what is done here. Then whatever exists need never be looked at again, not even
        by the end of the process.
    """

    def __init__(self, last: bool) -> None:
        self.last = last
        self.enabled = gc.isenabled()

    def __enter__(self) -> Collector:
        """Collect no more."""
        gc.disable()
        return self

    def __exit__(self, *_: object) -> None:
        """Collect again, if it was so before; at the end of the process, look at nothing any more."""
        if self.last:
            gc.freeze()
        elif self.enabled:
            gc.enable()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Let it collect meanwhile, where it did before."""
        if self.last:
            gc.freeze()
        if self.enabled:
            gc.enable()
        try:
            yield
        finally:
            gc.disable()
