"""What one process of the self-test is asked to do."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..randomness import seeds

if TYPE_CHECKING:
    import numpy as np

#: The seed of every training here; which number it is does not matter.
SEED = 20
#: What a process leaves behind.
RESULT, PREDICTIONS = "result.json", "predictions.npy"


@dataclass(frozen=True)
class Job:
    """One training, in a process of its own.

    Parameters
    ----------
    what : str
        "stress" trains the workload of the framework, "project" what the project trains, "operations" tries
        operations one by one.
    device : str
        "cpu" or "cuda".
    steps : int
        Of the workload: batches, rounds or trees.
    threads : int
        Of the numeric libraries; 0 leaves it to them.
    without : tuple of str
        The switches and seeds that are left out.
    plain : bool
        Without anything that two devices do each in its own way: random numbers drawn there, fewer bits.
    checkpoint : str
        The file that checkpoints are kept in, and that the training goes on from if it is there; "" for none.
    dies_at : int
        The step in which the process kills itself; 0 lets it live.
    """

    what: str
    device: str = "cpu"
    steps: int = 0
    threads: int = 1
    without: tuple[str, ...] = ()
    plain: bool = False
    checkpoint: str = ""
    dies_at: int = 0

    def dump(self) -> str:
        """Write it down for the process that does it."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Job:
        """Read what `dump` wrote."""
        content = json.loads(text)
        return cls(**{**content, "without": tuple(content["without"])})

    def rng(self, name: str) -> np.random.Generator:
        """Give the generator of one purpose, as `run.rng` does."""
        return seeds.stream(SEED, name)

    def numbers(self, count: int) -> np.ndarray:
        """Give numbers of words, shape (count,), in the order of a set, which the hash seed decides."""
        import numpy as np

        numbers = {word: i for i, word in enumerate({f"word {i}" for i in range(count)})}
        return np.array([numbers[f"word {i}"] for i in range(count)])

    def reseed(self, name: str) -> None:
        """Seed every global generator, as `run.reseed` does; those that are left out get a seed of no plan."""
        seed = int(self.rng(name).integers(2**32))
        for generator in seeds.set_all(seed):
            if seed_switch(generator) in self.without:
                seeds.unset(generator, seed)

    def live(self, step: int) -> None:
        """Go on to a step, counted from 0, unless this process is to be killed in it."""
        if step + 1 == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    @property
    def file(self) -> Path | None:
        """The file of the checkpoint."""
        return Path(self.checkpoint) if self.checkpoint else None

    def kept(self) -> bytes:
        """Read the checkpoint; empty where there is none."""
        return self.file.read_bytes() if self.file and self.file.exists() else b""

    def keep(self, content: bytes) -> None:
        """Put a checkpoint in the place of the last, whole or not at all."""
        if self.file:
            part = self.file.with_suffix(".part")
            part.write_bytes(content)
            part.replace(self.file)


def seed_switch(generator: str) -> str:
    """Name the seed of a generator among the switches."""
    return f"the seed of {generator}"
