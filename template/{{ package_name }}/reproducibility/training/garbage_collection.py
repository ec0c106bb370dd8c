"""Python's garbage collector, switched off while imports make millions of objects and none can be collected."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


class Collector:
    """Keeps the collector off, which saves a fifth of a short run, and leaves it as it was found.

    Parameters
    ----------
    last : bool
        Whether the process ends with what is done here. Then what exists is never looked at again.
    """

    def __init__(self, last: bool) -> None:
        self.last = last
        self.enabled = gc.isenabled()

    def __enter__(self) -> Collector:
        """Collect no more."""
        gc.disable()
        return self

    def __exit__(self, *_: object) -> None:
        """Collect again, if it was so before and the process goes on."""
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
