"""The stress workload of PyTorch: what usually does not repeat, in one small network; with PyTorch and NumPy alone."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from .job import Job
from .operations import OPERATIONS as OPERATIONS

if TYPE_CHECKING:
    import numpy as np

#: Of the packages that compute, the names as a pattern.
PACKAGES = r"torch|numpy|triton|nvidia-.*"
#: The generators that it draws from, as `seeds.set_all` names them.
GENERATORS = ("random", "numpy.random", "torch")
ROWS, BATCH, EPOCH = 2048, 128, 10
VOCABULARY, WORDS, GROUPS, CLASSES, WIDTH = 500, 12, 16, 10, 64


class Network(nn.Module):  # type: ignore[misc]
    """Convolutions, attention, bags of words, and sums that many rows write into at once."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.images = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
        )
        self.attention = nn.MultiheadAttention(WIDTH, 4, dropout, batch_first=True)
        self.words = nn.EmbeddingBag(VOCABULARY, WIDTH, mode="mean")
        self.letters = nn.Embedding(VOCABULARY, WIDTH)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(4 * WIDTH, CLASSES)

    def forward(self, images: torch.Tensor, words: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Give scores, shape (n, CLASSES), for images (n, 3, 16, 16), words (n, WORDS) and groups (n,)."""
        places = self.images(images).flatten(2).transpose(1, 2)
        seen = self.attention(places, places, places, need_weights=False)[0].mean(1)
        read = self.words(words)
        spelled = self.letters(words).sum(1)
        # Each row adds to the sum of its group, and takes the group's sum back: many writers, one place.
        empty = torch.zeros(GROUPS, WIDTH, dtype=seen.dtype, device=seen.device)
        together = empty.index_put((groups,), seen, accumulate=True)[groups]
        places_of = groups[:, None].expand_as(read)
        together = together + torch.zeros_like(empty, dtype=read.dtype).scatter_add(0, places_of, read)[groups]
        return self.head(self.drop(torch.cat([seen, read, spelled, together], 1).relu()))


def train(job: Job, note: Callable[[float], None]) -> dict[str, dict[str, np.ndarray]]:
    """Train the network.

    Parameters
    ----------
    job : Job
        `steps` batches on its device; a checkpoint is kept after each epoch.
    note : callable
        Takes the loss of each step.

    Returns
    -------
    dict of str to dict of str to numpy.ndarray
        `weights`, `optimizer` and `predictions`, each a mapping of names to arrays.
    """
    rows = _rows(job)
    job.reseed("init")
    network = Network(0.0 if job.plain else 0.1).to(job.device)  # drawn on the CPU: the same weights on each device
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4 if job.plain else 3e-3)
    fewer_bits = torch.float16 if job.device == "cuda" else torch.bfloat16
    scaler = torch.amp.GradScaler(job.device, enabled=fewer_bits is torch.float16 and not job.plain)
    done = 0
    if content := job.kept():
        kept = torch.load(io.BytesIO(content), weights_only=True)
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        scaler.load_state_dict(kept["scaler"])
        done = kept["done"]
    network.train()
    for step in range(done, job.steps):
        if step % EPOCH == 0:
            _keep(job, network, optimizer, scaler, step)
            job.reseed(f"epoch {step // EPOCH}")
        job.live(step)
        batch = [part.to(job.device) for part in _batch(job, rows)]
        with torch.autocast(job.device, fewer_bits, enabled=not job.plain):
            loss = functional.cross_entropy(network(*batch[:3]), batch[3])
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        note(float(loss.detach()))
    network.eval()
    with torch.no_grad():
        held_out = [part[:256].to(job.device) for part in rows[:3]]
        predictions = network(*held_out).float()
    state = optimizer.state_dict()["state"]
    return {
        "weights": _arrays(network.state_dict()),
        "optimizer": _arrays({f"{i}.{name}": part for i, parts in state.items() for name, part in parts.items()})
        | _arrays({"scale": torch.tensor(scaler.get_scale())}),
        "predictions": _arrays({"all": predictions}),
    }


def _rows(job: Job) -> list[torch.Tensor]:
    """Make rows: images, words, groups and labels, which depend on all three."""
    rng = job.rng("rows")
    order = torch.from_numpy(job.numbers(VOCABULARY))
    images = torch.from_numpy(rng.normal(size=(ROWS, 3, 16, 16)).astype("float32"))
    words = torch.from_numpy(rng.integers(VOCABULARY, size=(ROWS, WORDS)))
    groups = torch.from_numpy(rng.integers(GROUPS, size=ROWS))
    labels = ((images[:, 0, 4:12, 4:12].mean((1, 2)) * 8).long() + words[:, 0] % 5 + groups % 3) % CLASSES
    return [images, order[words] if not job.plain else words, groups, labels]


def _batch(job: Job, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Draw a batch, and change its images: NumPy draws the rows, Python the flip, PyTorch the noise."""
    import numpy as np

    chosen = torch.from_numpy(np.random.choice(ROWS, BATCH, replace=False))
    images, words, groups, labels = (part[chosen] for part in rows)
    if random.random() < 0.5:  # noqa: S311 - Python's own generator is what is tried
        images = images.flip(3)
    return [images + 0.1 * torch.randn(images.shape), words, groups, labels]


def _keep(
    job: Job, network: Network, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, done: int
) -> None:
    states = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
    content = io.BytesIO()
    torch.save({**states, "done": done}, content)
    job.keep(content.getvalue())


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
