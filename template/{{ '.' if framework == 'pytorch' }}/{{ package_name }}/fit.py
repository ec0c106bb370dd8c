"""The training of the network: batches, learning-rate schedule, early stopping, checkpoints."""

import json
from collections.abc import Mapping

import pandas as pd
import torch
from safetensors.torch import load, save
from torch.utils.data import DataLoader, TensorDataset

from . import epochs, progress
from .model import Network
from .reproducibility import Run
from .settings import ModelSettings, Settings

Rows = tuple[pd.DataFrame, pd.Series]
History = dict[str, list[float]]


def fit(train: Rows, validation: Rows, settings: Settings, run: Run) -> tuple[Network, History]:
    """Train until the validation loss has not fallen for a while.

    Parameters
    ----------
    train, validation : tuple of (pandas.DataFrame, pandas.Series)
        Rows and their target: those learned from, and those that decide when to stop.
    settings : Settings
        `model` is used.
    run : Run
        Seeds each epoch; keeps checkpoints; notes the weights after steps 1, 2, 4, 8, ...

    Returns
    -------
    tuple of (Network, dict)
        The network, on the CPU, with the weights of the best epoch; and the losses after each epoch:
        `{"train": [...], "validation": [...]}`.
    """
    model = settings.model
    run.reseed("init")
    network = Network(*train, model).to(run.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=model.learning_rate, weight_decay=model.weight_decay)
    history: History = {"train": [], "validation": []}
    if run.restored:
        network.load_state_dict(load(run.restored["weights.safetensors"]))
        best = load(run.restored["best.safetensors"])
        _restore(optimizer, load(run.restored["optimizer.safetensors"]))
        history = json.loads(run.restored["history.json"])
    else:
        best = _copy(network)
        run.stage("init", _arrays(network))

    learned, watched = _tensors(train), _tensors(validation)
    losses = history["validation"]
    with progress.bar(model.epochs, len(losses)) as advance:
        while len(losses) < model.epochs and not progress.is_over(losses, model.early_stopping_epochs):
            history["train"].append(_epoch(network, optimizer, learned, len(losses), model, run))
            losses.append(_loss(network, watched, run.device))
            if losses[-1] == min(losses):
                best = _copy(network)
            if len(losses) % model.checkpoint_epochs == 0:
                run.checkpoint(
                    {
                        "weights.safetensors": save(_copy(network)),
                        "best.safetensors": save(best),
                        "optimizer.safetensors": save(_state(optimizer)),
                        "history.json": json.dumps(history).encode(),
                    }
                )
            advance(losses[-1])
    network.load_state_dict(best)
    return network.cpu().eval(), history


def _epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    rows: TensorDataset,
    epoch: int,
    model: ModelSettings,
    run: Run,
) -> float:
    """Go through the rows once, and give the mean loss."""
    # From here on every generator is a function of seed and epoch: the order of the rows, the dropout, the workers'.
    run.reseed(f"epoch {epoch}")
    order = torch.Generator().manual_seed(int(run.rng(f"order {epoch}").integers(2**32)))
    batches = DataLoader(rows, model.batch_size, shuffle=True, generator=order, num_workers=model.workers)
    for group in optimizer.param_groups:
        group["lr"] = epochs.learning_rate(model.learning_rate, epoch, model.epochs)
    network.train()
    total = 0.0
    for step, (X, y) in enumerate(batches, epoch * len(batches) + 1):
        losses = network.losses(X.to(run.device), y.to(run.device))
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        total += float(losses.detach().double().sum())
        if step & (step - 1) == 0:  # a power of two: few digests, and still the step in which two runs part
            run.stage(f"step {step}", _arrays(network))
    return total / len(rows)


def _loss(network: Network, rows: TensorDataset, device: str) -> float:
    X, y = rows.tensors
    network.eval()
    with torch.no_grad():
        return float(network.losses(X.to(device), y.to(device)).double().mean())


def _tensors(rows: Rows) -> TensorDataset:
    X, y = rows
    return TensorDataset(
        torch.from_numpy(X.to_numpy("float64", copy=True)), torch.from_numpy(y.to_numpy("float64", copy=True))
    )


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _arrays(network: Network) -> dict[str, object]:
    return {name: tensor.numpy() for name, tensor in _copy(network).items()}


def _state(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Give an optimizer's tensors by "number of the parameter.name"."""
    states = optimizer.state_dict()["state"]
    return {f"{i}.{name}": tensor.cpu().clone() for i, state in states.items() for name, tensor in state.items()}


def _restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `_state` gave."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
