"""The training of the network: batches, learning-rate schedule, early stopping, checkpoints."""

import json
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from . import epochs, parallel, progress, state
from .model import Network
from .reproducibility import Run
from .settings import ModelSettings, Settings

#: Numbers of shape (rows, features), and the target: numbers of classes, or values.
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
History = dict[str, list[float]]

#: What the curves go by.
STEP = "epoch"


class Fitted(NamedTuple):
    """What a training gives.

    Parameters
    ----------
    model : nn.Sequential
        With the weights of the best epoch.
    history : dict
        The losses after each epoch: `{"train": [...], "validation": [...]}`.
    best : int
        The best epoch, counted from 1.
    """

    model: nn.Sequential
    history: History
    best: int


def fit(train: Rows, validation: Rows, settings: Settings, run: Run, classes: int = 0) -> Fitted:
    """Train until the validation loss has not fallen for a while; several processes do it together, in step.

    Parameters
    ----------
    train, validation : tuple of (ndarray, ndarray)
        Numbers and their target: those learned from, and those that decide when to stop.
    settings : Settings
        `model` is used.
    run : Run
        Seeds each epoch; keeps checkpoints; notes the weights after steps 1, 2, 4, 8, ...
    classes : int
        How many there are; 0 where values are predicted.

    Returns
    -------
    Fitted
    """
    model = settings.model
    run.reseed("init")
    network = Network(*train, classes, model).to(run.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=model.learning_rate, weight_decay=model.weight_decay)
    history: History = {"train": [], "validation": []}
    if run.restored:
        network.load_state_dict(load(run.restored["weights.safetensors"]))
        best = load(run.restored["best.safetensors"])
        state.restore(optimizer, load(run.restored["optimizer.safetensors"]))
        history = json.loads(run.restored["history.json"])
    else:
        best = state.copy(network)
        run.stage("init", state.arrays(network))

    learner = parallel.losses(network, run)
    learned, watched = _tensors(train), _tensors(validation)
    losses = history["validation"]
    with progress.bar(model.epochs, len(losses)) as advance:
        while len(losses) < model.epochs and not progress.is_over(losses, model.early_stopping_epochs):
            history["train"].append(_epoch(network, learner, optimizer, learned, len(losses), model, run))
            losses.append(_loss(network, watched, run))
            if losses[-1] == min(losses):
                best = state.copy(network)
            if len(losses) % model.checkpoint_epochs == 0:
                run.checkpoint(
                    {
                        "weights.safetensors": save(state.copy(network)),
                        "best.safetensors": save(best),
                        "optimizer.safetensors": save(state.of(optimizer)),
                        "history.json": json.dumps(history).encode(),
                    }
                )
            advance(losses[-1])
    network.load_state_dict(best)
    return Fitted(network.answering(), history, epochs.best(losses))


def _epoch(
    network: Network,
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: TensorDataset,
    epoch: int,
    model: ModelSettings,
    run: Run,
) -> float:
    """Go through the rows once, and give the mean loss."""
    # From here on every generator is a function of seed and epoch: the order of the rows, the dropout, the workers'.
    # All processes have one order, and each a dropout of its own.
    run.reseed(f"epoch {epoch}" + f" of process {run.rank}" * (run.rank > 0))
    order = torch.Generator().manual_seed(int(run.rng(f"order {epoch}").integers(2**32)))
    parts = parallel.Parts(BatchSampler(RandomSampler(rows, generator=order), model.batch_size, drop_last=False), run)
    batches = DataLoader(rows, batch_sampler=parts, generator=order, num_workers=model.workers)
    for group in optimizer.param_groups:
        group["lr"] = epochs.learning_rate(model.learning_rate, epoch, model.epochs)
    network.train()
    total = 0.0
    for number, (X, y) in enumerate(batches):
        size = min(model.batch_size, len(rows) - number * model.batch_size)  # of the whole batch
        losses = learner(X.to(run.device), y.to(run.device))[: parts.rows(size)]
        optimizer.zero_grad()
        (losses.sum() / (size / run.processes)).backward()  # the mean over processes is then that over the batch
        optimizer.step()
        total += float(losses.detach().double().sum())
        step = epoch * len(batches) + number + 1
        if step & (step - 1) == 0:  # a power of two: few digests, and still the step in which two runs part
            run.stage(f"step {step}", state.arrays(network))
    return parallel.total(total, run) / len(rows)


def _loss(network: Network, rows: TensorDataset, run: Run) -> float:
    X, y = (tensor[run.rank :: run.processes].to(run.device) for tensor in rows.tensors)
    network.eval()
    with torch.no_grad():
        return parallel.total(float(network.losses(X, y).double().sum()), run) / len(rows)


def _tensors(rows: Rows) -> TensorDataset:
    numbers, target = rows
    return TensorDataset(torch.from_numpy(numbers), torch.from_numpy(target.astype("float64")))
