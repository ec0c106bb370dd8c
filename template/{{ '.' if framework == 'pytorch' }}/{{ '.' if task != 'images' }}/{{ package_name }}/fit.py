"""The training of the network: what it is made of, and what it does in an epoch."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from . import epochs, parallel
from .fitted import Fitted
from .model import Network
from .reproducibility import Run
from .settings import ModelSettings, Settings
from .state import State, arrays

#: Numbers of shape (rows, features), and the target: numbers of classes, or values.
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

#: What the curves go by.
STEP = "epoch"


def fit(train: Rows, validation: Rows, settings: Settings, run: Run, classes: int = 0) -> Fitted[nn.Sequential]:
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
        Layers with the weights of the best epoch.
    """
    model = settings.model
    run.reseed("init")
    network = Network(*train, classes, model).to(run.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=model.learning_rate, weight_decay=model.weight_decay)
    state = State(network, optimizer, run)
    learner = parallel.losses(network, run)
    learned, watched = _tensors(train), _tensors(validation)
    best = epochs.train(
        state,
        lambda epoch: _epoch(network, learner, optimizer, learned, epoch, model, run),
        lambda: _loss(network, watched, run),
        model,
        run,
    )
    network.load_state_dict(state.best)
    return Fitted(network.answering(), state.history, best)


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
            run.stage(f"step {step}", arrays(network))
    return parallel.total(total, run) / len(rows)


def _loss(network: Network, rows: TensorDataset, run: Run) -> float:
    X, y = (tensor[run.rank :: run.processes].to(run.device) for tensor in rows.tensors)
    network.eval()
    with torch.no_grad():
        return parallel.total(float(network.losses(X, y).double().sum()), run) / len(rows)


def _tensors(rows: Rows) -> TensorDataset:
    numbers, target = rows
    return TensorDataset(torch.from_numpy(numbers), torch.from_numpy(target.astype("float64")))
