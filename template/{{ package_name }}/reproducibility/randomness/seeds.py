"""Every generator of pseudo-random numbers, from one seed."""

from __future__ import annotations

import hashlib
import random
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def set_all(seed: int) -> dict[str, int]:
    """Seed every global generator, and say which: the record names them."""
    import numpy as np

    from ..framework import FRAMEWORK

    random.seed(seed)
    np.random.seed(seed)  # libraries draw from it: every `random_state=None` of scikit-learn
    return {"random": seed, "numpy.random": seed, **FRAMEWORK.set_seed(seed)}


def unset(generator: str, seed: int) -> None:
    """Give one of the generators that `set_all` named other numbers each time; the rest stay at `seed`."""
    import numpy as np

    from ..framework import FRAMEWORK

    own = generator in ("random", "numpy.random")
    FRAMEWORK.set_seed(seed if own else secrets.randbits(32))  # some seed Python's and NumPy's as well
    random.seed(None if generator == "random" else seed)
    np.random.seed(None if generator == "numpy.random" else seed)


def stream(seed: int, name: str) -> np.random.Generator:
    """Make the generator of one purpose, such as "split".

    Streams of different names are independent, and none depends on how often or in which order
    others were made, so that a new consumer of randomness changes nobody else's numbers.

    Notes
    -----
    `SeedSequence(seed, spawn_key=…)` as in NumPy's "Parallel random number generation", with a stable
    hash of the name for the key: Python's own `hash` differs between processes.
    """
    import numpy as np

    digest = hashlib.sha256(name.encode()).digest()
    key = tuple(int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
