"""The state of a training: what checkpoints keep as tensors by name, and what stages are digests of."""

import json
from collections.abc import Mapping

import torch
from safetensors.torch import load, save
from torch import nn

from .fitted import History
from .reproducibility import Run


class State:
    """A network, its optimizer, the best weights so far and the losses.

    Parameters
    ----------
    network : nn.Module
        New; a resumed training gives it the weights of its checkpoint.
    optimizer : torch.optim.Optimizer
        Of the network.
    run : Run
        Has the checkpoint, or notes the first weights.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, run: Run) -> None:
        self.network = network
        self.optimizer = optimizer
        self.history: History = {"train": [], "validation": []}
        if run.restored:
            network.load_state_dict(load(run.restored["weights.safetensors"]))
            self.best = load(run.restored["best.safetensors"])
            restore(optimizer, load(run.restored["optimizer.safetensors"]))
            self.history = json.loads(run.restored["history.json"])
        else:
            self.keep()
            run.stage("init", arrays(network))

    def keep(self) -> None:
        """Take the weights as they are for the best so far."""
        self.best = copy(self.network)

    def files(self) -> dict[str, bytes]:
        """Give what a checkpoint keeps."""
        return {
            "weights.safetensors": save(copy(self.network)),
            "best.safetensors": save(self.best),
            "optimizer.safetensors": save(of(self.optimizer)),
            "history.json": json.dumps(self.history).encode(),
        }


def copy(network: nn.Module) -> dict[str, torch.Tensor]:
    """Give the weights of a network as they are now, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def arrays(network: nn.Module) -> dict[str, object]:
    """Give the weights of a network as arrays."""
    return {name: tensor.numpy() for name, tensor in copy(network).items()}


def of(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Give an optimizer's tensors by "number of the parameter.name"."""
    states = optimizer.state_dict()["state"]
    return {f"{i}.{name}": tensor.cpu().clone() for i, state in states.items() for name, tensor in state.items()}


def restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `of` gave."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
