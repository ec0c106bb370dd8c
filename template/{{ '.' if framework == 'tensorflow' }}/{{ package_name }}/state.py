"""The state of a training as bytes and seeds: what checkpoints keep, and what a resumed training begins with."""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from .fitted import History
from .reproducibility import Run


class State:
    """A network with its optimizer, the best weights so far and the losses.

    Parameters
    ----------
    build : callable
        Makes the network of a new training.
    run : Run
        Has the checkpoint of a resumed one, or notes the first weights.
    """

    def __init__(self, build: Callable[[], keras.Model], run: Run) -> None:
        self.history: History = {"train": [], "validation": []}
        if run.restored:
            self.network = read(run.restored["network.keras"])
            with np.load(io.BytesIO(run.restored["best.npz"])) as stored:
                self.best = list(stored.values())
            self.history = json.loads(run.restored["history.json"])
        else:
            self.network = build()
            self.keep()
            run.stage("init", self.best)

    def keep(self) -> None:
        """Take the weights as they are for the best so far."""
        self.best = self.network.get_weights()

    def files(self) -> dict[str, bytes]:
        """Give what a checkpoint keeps."""
        arrays = io.BytesIO()
        np.savez(arrays, *self.best)
        return {
            "network.keras": content(self.network),
            "best.npz": arrays.getvalue(),
            "history.json": json.dumps(self.history).encode(),
        }


def reseed(network: keras.Model, epoch: int, run: Run) -> None:
    """Make every generator a function of seed and epoch; those of the dropout too, which Keras does not store."""
    run.reseed(f"epoch {epoch}")
    numbers = run.rng(f"dropout {epoch}")
    for variable in network.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign([int(numbers.integers(2**31)), 0])


def content(network: keras.Model) -> bytes:
    """Store a network as Keras does: architecture, weights, and the state of its optimizer."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "network.keras")
        network.save(path)
        return path.read_bytes()


def read(content: bytes) -> keras.Model:
    """Read what `content` gave."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "network.keras")
        path.write_bytes(content)
        return keras.saving.load_model(path)
