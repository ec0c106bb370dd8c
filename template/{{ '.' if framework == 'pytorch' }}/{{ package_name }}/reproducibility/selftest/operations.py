"""Operations of PyTorch of which some have no deterministic form on some devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .job import Job

#: Numbers that meet in one place.
MANY = 1 << 20


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


#: Most are named in PyTorch's documentation of `use_deterministic_algorithms`; all are tried.
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
