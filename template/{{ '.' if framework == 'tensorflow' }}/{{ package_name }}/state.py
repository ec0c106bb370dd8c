"""The state of a training as bytes and seeds: what checkpoints keep, and what a resumed training begins with."""

import tempfile
from pathlib import Path

import keras

from .reproducibility import Run


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
