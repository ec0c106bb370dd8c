"""The stress workload of PyTorch: what usually does not repeat, in one small network; with PyTorch and NumPy alone."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from .job import Job

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


def _normal(job: Job, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(job.device).requires_grad_()


def _places(job: Job, high: int, *shape: int) -> torch.Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(1)).to(job.device)


def _forward(operation: Callable[[Job], torch.Tensor]) -> Callable[[Job], Any]:
    return lambda job: operation(job).detach().cpu().numpy()


def _backward(operation: Callable[[torch.Tensor, Job], torch.Tensor], *shape: int) -> Callable[[Job], Any]:
    """Give the gradient of what an operation makes of random numbers of a shape."""

    def gradient(job: Job) -> Any:
        numbers = _normal(job, *shape)
        made = operation(numbers, job)
        made.backward(torch.linspace(0, 1, made.numel(), device=made.device).reshape(made.shape))
        assert numbers.grad is not None  # noqa: S101 - for the types
        return numbers.grad.cpu().numpy()

    return gradient


def _grid(job: Job) -> torch.Tensor:
    return _normal(job, 8, 64, 64, 2).detach().tanh()


def _ctc(scores: torch.Tensor, job: Job) -> torch.Tensor:
    lengths = torch.full((16,), 50), torch.full((16,), 20)
    targets = _places(job, 19, 16, 20) + 1
    return functional.ctc_loss(scores.log_softmax(2), targets, *lengths, reduction="none")


def _overlapping(job: Job) -> torch.Tensor:
    """Write many values into each place, through a view that meets itself; which one stays is not defined."""
    target = torch.zeros(4096 + 63, device=job.device)
    target.as_strided((4096, 64), (1, 1)).copy_(_normal(job, 4096, 64).detach())
    return target


def _lstm(x: torch.Tensor, job: Job) -> torch.Tensor:
    torch.manual_seed(0)
    layer = nn.LSTM(64, 128, num_layers=2, dropout=0.2).to(job.device)
    return layer(x)[0]


def _sparse(job: Job) -> torch.Tensor:
    """Make a sparse matrix in which many values have the same place."""
    return torch.sparse_coo_tensor(_places(job, 256, 2, MANY), _normal(job, MANY).detach(), (256, 256))


MANY = 1 << 20
#: Operations of which some have no deterministic form on some devices. Most are named in PyTorch's documentation of
#: `use_deterministic_algorithms`; all are tried.
OPERATIONS: Mapping[str, Callable[[Job], Any]] = {
    "adaptive_avg_pool2d, gradient": _backward(lambda x, job: functional.adaptive_avg_pool2d(x, 5), 16, 32, 33, 33),
    "adaptive_max_pool2d, gradient": _backward(lambda x, job: functional.adaptive_max_pool2d(x, 5), 16, 32, 33, 33),
    "avg_pool3d, gradient": _backward(lambda x, job: functional.avg_pool3d(x, 3, 2), 4, 8, 17, 17, 17),
    "bincount with weights": _forward(
        lambda job: torch.bincount(_places(job, 64, MANY), _normal(job, MANY).detach(), 64)
    ),
    "conv2d, gradient": _backward(
        lambda x, job: functional.conv2d(x, _normal(job, 64, 32, 3, 3), padding=1), 32, 32, 28, 28
    ),
    "conv_transpose2d, gradient": _backward(
        lambda x, job: functional.conv_transpose2d(x, _normal(job, 32, 64, 3, 3), stride=2), 16, 32, 15, 15
    ),
    "cdist, gradient": _backward(lambda x, job: torch.cdist(x, _normal(job, 500, 32)), 1000, 32),
    "conv3d, gradient": _backward(
        lambda x, job: functional.conv3d(x, _normal(job, 16, 8, 3, 3, 3), padding=1), 4, 8, 16, 16, 16
    ),
    "ctc_loss, gradient": _backward(_ctc, 50, 16, 20),
    "cumsum": _forward(lambda job: _normal(job, MANY).cumsum(0)),
    "embedding, gradient": _backward(lambda x, job: functional.embedding(_places(job, 100, 65536), x), 100, 64),
    "embedding_bag of maxima, gradient": _backward(
        lambda x, job: functional.embedding_bag(_places(job, 100, 4096, 16), x, mode="max"), 100, 64
    ),
    "gather, gradient": _backward(lambda x, job: x.gather(0, _places(job, 64, MANY)), 64),
    "grid_sample, gradient": _backward(
        lambda x, job: functional.grid_sample(x, _grid(job), align_corners=False), 8, 8, 64, 64
    ),
    "histc": _forward(lambda job: _normal(job, MANY).detach().histc(100)),
    "index_add": _forward(
        lambda job: torch.zeros(64, device=job.device).index_add(0, _places(job, 64, MANY), _normal(job, MANY))
    ),
    "index_put, adding": _forward(
        lambda job: torch.zeros(64, device=job.device).index_put(
            (_places(job, 64, MANY),), _normal(job, MANY), accumulate=True
        )
    ),
    "index_put, one place many times": _forward(
        lambda job: torch.zeros(64, device=job.device).index_put((_places(job, 64, MANY),), _normal(job, MANY))
    ),
    "interpolate bicubic, gradient": _backward(
        lambda x, job: functional.interpolate(x, scale_factor=2.5, mode="bicubic"), 4, 8, 32, 32
    ),
    "interpolate bilinear, gradient": _backward(
        lambda x, job: functional.interpolate(x, scale_factor=2.5, mode="bilinear"), 4, 8, 32, 32
    ),
    "kthvalue": _forward(lambda job: _normal(job, 64, 10_000).kthvalue(500)[0]),
    "layer_norm, gradient": _backward(lambda x, job: functional.layer_norm(x, (512,)), 1000, 512),
    "lstm with dropout, gradient": _backward(_lstm, 50, 32, 64),
    "matmul": _forward(lambda job: _normal(job, 512, 4096) @ _normal(job, 4096, 512)),
    "max_pool3d, gradient": _backward(lambda x, job: functional.max_pool3d(x, 3, 2), 4, 8, 17, 17, 17),
    "median with places": _forward(lambda job: _places(job, 9, 64, 10_000).median(1)[1]),
    "nll_loss of images": _backward(
        lambda x, job: functional.nll_loss(x.log_softmax(1), _places(job, 10, 8, 64, 64)), 8, 10, 64, 64
    ),
    "overlapping writes": _forward(_overlapping),
    "put": _forward(lambda job: torch.zeros(64, device=job.device).put(_places(job, 64, MANY), _normal(job, MANY))),
    "reflection_pad2d, gradient": _backward(lambda x, job: functional.pad(x, (3, 3, 3, 3), "reflect"), 8, 8, 32, 32),
    "replication_pad2d, gradient": _backward(lambda x, job: functional.pad(x, (3, 3, 3, 3), "replicate"), 8, 8, 32, 32),
    "scaled_dot_product_attention, gradient": _backward(
        lambda x, job: functional.scaled_dot_product_attention(x, x, x), 4, 8, 512, 64
    ),
    "scatter, one place many times": _forward(
        lambda job: torch.zeros(64, device=job.device).scatter(0, _places(job, 64, MANY), _normal(job, MANY))
    ),
    "scatter_add": _forward(
        lambda job: torch.zeros(64, device=job.device).scatter_add(0, _places(job, 64, MANY), _normal(job, MANY))
    ),
    "scatter_reduce of products": _forward(
        lambda job: torch.ones(64, device=job.device).scatter_reduce(
            0, _places(job, 64, MANY), 1 + 1e-3 * _normal(job, MANY), "prod"
        )
    ),
    "sort, equal values": _forward(lambda job: torch.sort(_places(job, 9, MANY))[1]),
    "sparse times dense": _forward(lambda job: _sparse(job) @ _normal(job, 256, 64)),
    "sparse times dense, by rows": _forward(lambda job: _sparse(job).to_sparse_csr() @ _normal(job, 256, 64)),
    "sparse, coalesced": _forward(lambda job: _sparse(job).coalesce().values()),
    "svd": _forward(lambda job: torch.linalg.svdvals(_normal(job, 300, 200))),
}
