"""The training of the network: what it is made of, and what it does in an epoch."""

from collections.abc import Iterator

import pandas as pd
import torch
from torch import nn

from . import batches, epochs, parallel
from .fitted import Fitted
from .model import Network
from .reproducibility import Run
from .settings import ModelSettings, Settings
from .state import State, arrays

#: What the curves go by.
STEP = "epoch"


def fit(train: pd.DataFrame, validation: pd.DataFrame, settings: Settings, run: Run) -> Fitted[Network]:
    """Train until the validation loss has not fallen for a while; several processes do it together, in step.

    Parameters
    ----------
    train, validation : pandas.DataFrame, shape (images, 2)
        Columns `file` and `label`: images learned from, and those that decide when to stop.
    settings : Settings
        `images` and `model` are used.
    run : Run
        Seeds each epoch; keeps checkpoints; notes the weights after steps 1, 2, 4, 8, ...

    Returns
    -------
    Fitted
        The network, on the CPU, with the weights of the best epoch.
    """
    model = settings.model
    run.reseed("init")
    classes = train["label"].cat.categories
    network = Network(classes, settings.images, model.filters, model.dropout).to(run.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=model.learning_rate, weight_decay=model.weight_decay)
    state = State(network, optimizer, run)
    learner = parallel.losses(network, run)
    learned, watched = _Learned(train, settings, run), _Watched(validation, settings, run)
    best = epochs.train(
        state,
        lambda epoch: _epoch(network, learner, optimizer, learned, epoch, model, run),
        lambda: watched.loss(network),
        model,
        run,
    )
    network.load_state_dict(state.best)
    return Fitted(network.cpu().eval(), state.history, best)


def _epoch(
    network: Network,
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    learned: "_Learned",
    epoch: int,
    model: ModelSettings,
    run: Run,
) -> float:
    """Go through the images once, and give the mean loss."""
    # From here on every generator is a function of seed and epoch; each process has a dropout of its own.
    run.reseed(f"epoch {epoch}" + f" of process {run.rank}" * (run.rank > 0))
    for group in optimizer.param_groups:
        group["lr"] = epochs.learning_rate(model.learning_rate, epoch, model.epochs)
    network.train()
    total = 0.0
    for step, (size, pixels, labels) in enumerate(learned.batches(epoch), epoch * len(learned.order) + 1):
        losses = learner(pixels.to(run.device), labels.to(run.device))[: learned.parts.rows(size)]
        optimizer.zero_grad()
        (losses.sum() / (size / run.processes)).backward()  # the mean over processes is then that over the batch
        optimizer.step()
        total += float(losses.detach().double().sum())
        if step & (step - 1) == 0:  # a power of two: few digests, and still the step in which two runs part
            run.stage(f"step {step}", arrays(network))
    return parallel.total(total, run) / learned.order.count


class _Learned:
    """The images learned from: in each epoch in another order, and changed otherwise."""

    def __init__(self, table: pd.DataFrame, settings: Settings, run: Run) -> None:
        self.labels = _labels(table)
        self.order = batches.Order(len(table), settings.model.batch_size, run)
        self.parts = parallel.Parts(self.order, run)
        changed = batches.Images(table["file"], settings.images, seed=int(run.rng("changes").integers(2**63)))
        self.loader = batches.loader(changed, self.parts, settings.model.workers)

    def batches(self, epoch: int) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """Give the size of each whole batch, and pixels and labels of this process's part."""
        self.order.epoch = epoch
        for size, (pixels, numbers) in zip(self.order.sizes(), self.loader, strict=True):
            yield size, pixels, self.labels[numbers]


class _Watched:
    """The images that decide when to stop."""

    def __init__(self, table: pd.DataFrame, settings: Settings, run: Run) -> None:
        self.run = run
        self.count = len(table)
        self.labels = _labels(table)
        mine = batches.in_sequence(range(len(table))[run.rank :: run.processes], settings.model.batch_size)
        self.loader = batches.loader(batches.Images(table["file"], settings.images), mine, settings.model.workers)

    def loss(self, network: Network) -> float:
        """Give the mean loss."""
        network.eval()
        total = 0.0
        with torch.no_grad():
            for pixels, numbers in self.loader:
                labels = self.labels[numbers].to(self.run.device)
                total += float(network.losses(pixels.to(self.run.device), labels).double().sum())
        return parallel.total(total, self.run) / self.count


def _labels(table: pd.DataFrame) -> torch.Tensor:
    return torch.from_numpy(table["label"].cat.codes.to_numpy("int64"))
