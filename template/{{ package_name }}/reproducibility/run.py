"""What `train` is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import seeds
from .project import PATIENCE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from pydantic import BaseModel

    from .adapter import ModelAdapter
    from .checkpoint import Checkpoints
    from .datasets import Dataset


@dataclass(frozen=True)
class Result:
    """What a training gives back.

    Parameters
    ----------
    model : Any
        The fitted model; None where nothing was fitted.
    inputs : Any, n rows
        The held-out rows: a table, an array, texts, as the model takes them; None without a model.
    predictions : Any, shape (n,) or (n, outputs)
        What the model predicts for them; None without a model.
    metrics : Mapping of str to float
        Every number by which the run is judged; compared as exact floats. Durations do not belong here.
    figures : Mapping of str to matplotlib.figure.Figure
        The pictures of the run, by name.
    adapter : ModelAdapter, optional
        Of your own, for a model that the framework's does not know: what of it is compared, and how it is stored.
    """

    model: Any
    inputs: Any
    predictions: Any
    metrics: Mapping[str, float]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    adapter: ModelAdapter | None = None


class Run:
    """What `train` needs from the harness.

    Parameters
    ----------
    seed : int
        The run's seed, 0 to 2**32 - 1.
    checkpoints : Checkpoints, optional
        Keeps what a resumed run would start from; without it nothing is kept.
    rank : int, default 0
        Which process this is, of those that train together. Only the first, 0, tracks and keeps anything.
    processes : int, default 1
        How many there are.
    """

    def __init__(self, seed: int, checkpoints: Checkpoints | None = None, rank: int = 0, processes: int = 1) -> None:
        self.seed = seed
        self.checkpoints = checkpoints
        self.rank = rank
        self.processes = processes
        self.datasets: dict[str, Dataset] = {}
        self.stages: dict[str, str] = dict(checkpoints.start.stages) if checkpoints else {}

    def rng(self, name: str) -> np.random.Generator:
        """Give the generator of one purpose, such as "split"; independent of all others."""
        return seeds.stream(self.seed, name)

    def reseed(self, name: str) -> None:
        """Seed every global generator anew, for what follows, such as "epoch 7".

        A training that does so before each epoch draws the same numbers in it whether it was interrupted before
        or not.

        Parameters
        ----------
        name : str
            What the numbers are for; each name has a seed of its own.
        """
        seeds.set_all(int(self.rng(name).integers(2**32)))

    def dataset(self, name: str) -> pd.DataFrame:
        """Read a dataset of data/datasets.yaml, after its digest was checked.

        Parameters
        ----------
        name : str
            The entry.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ProjectError
            If there is no such entry, or the file is not the registered one.
        """
        import mlflow

        from . import datasets

        entry = datasets.require(name, PATIENCE if self.rank else 0)
        table = datasets.read(entry.file, how=entry.read)
        self.datasets[name] = entry
        self.stages[f"data {name}"] = entry.digest
        if self.rank == 0 and mlflow.active_run():
            datasets.log(entry, table)
        return table

    def stage(self, name: str, value: Any) -> None:
        """Note the digest of an intermediate result, so that two runs can be told apart where they part.

        Parameters
        ----------
        name : str
            Such as "split".
        value : Any
            Arrays, tables, numbers, text, or mappings and sequences of these; see `digest.of_value`.
        """
        from . import digest

        if self.rank == 0:
            self.stages[name] = digest.of_value(value)

    @property
    def device(self) -> str:
        """Where the framework computes: "cuda" where there is a GPU that it can use, else "cpu".

        Of several processes each has a GPU of its own: "cuda:0", "cuda:1", ...
        """
        from .framework import FRAMEWORK

        return FRAMEWORK.device()

    @property
    def restored(self) -> dict[str, bytes]:
        """The files of the checkpoint that this run was started from; empty for a run from the start."""
        return self.checkpoints.start.files if self.checkpoints else {}

    def checkpoint(self, files: Mapping[str, bytes]) -> None:
        """Keep what `just train --resume` needs to go on from here, in place of what was kept before.

        Parameters
        ----------
        files : Mapping of str to bytes
            By name: weights, the state of the optimizer and of generators, losses so far.
        """
        if self.checkpoints and self.rank == 0:
            self.checkpoints.save(files, self.stages)


#: The project's training: settings and run in, result out.
Train = Callable[[Any, Run], Result]
#: Gives the project's settings class and training; imports them only when they are needed.
Experiment = Callable[[], "tuple[type[BaseModel], Train]"]
