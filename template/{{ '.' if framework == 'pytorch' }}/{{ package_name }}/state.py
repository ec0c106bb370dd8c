"""The state of a training as tensors by name: what checkpoints keep, and what stages are digests of."""

from collections.abc import Mapping

import torch
from torch import nn


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
