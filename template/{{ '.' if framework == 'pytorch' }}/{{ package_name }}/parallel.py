"""One network trained by several processes: each computes its part of every batch, and all take the same step."""

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, Sampler

from .model import Network
from .reproducibility import Run


class Losses(nn.Module):  # type: ignore[misc]
    """The losses of a network as a module, since processes add up the gradients of what a `forward` gives.

    Parameters
    ----------
    network : Network
        What is trained.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Give the loss of each row; shape (rows,)."""
        return self.network.losses(rows, target)


class Parts(Sampler[list[int]]):  # type: ignore[misc]
    """Of every batch the rows that are this process's.

    Parameters
    ----------
    batches : BatchSampler
        Row numbers of each batch, the same in every process.
    run : Run
        Tells which process this is.
    """

    def __init__(self, batches: BatchSampler, run: Run) -> None:
        self.batches = batches
        self.run = run

    def __iter__(self) -> Iterator[list[int]]:
        """Give row numbers; where a batch has fewer rows than there are processes, one that does not count."""
        for batch in self.batches:
            yield batch[self.run.rank :: self.run.processes] or batch[:1]

    def __len__(self) -> int:
        return len(self.batches)

    def rows(self, size: int) -> int:
        """Tell how many rows of a batch of that size are this process's."""
        return len(range(self.run.rank, size, self.run.processes))


def losses(network: Network, run: Run) -> nn.Module:
    """Give a module of a network's losses whose gradients, after `backward`, are the means over all processes."""
    module = Losses(network)
    if run.processes == 1:
        return module
    # PyTorch sorts gradients into other buckets after the first step, and adds up in another order then. To look for
    # unused parameters keeps the buckets as they are: a resumed training would otherwise part from one that was not.
    return DistributedDataParallel(module, find_unused_parameters=True)


def total(value: float, run: Run) -> float:
    """Add up a number of every process; all get the same sum, and decide the same by it."""
    if run.processes == 1:
        return value
    sum_of_all = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(sum_of_all)
    return float(sum_of_all)
