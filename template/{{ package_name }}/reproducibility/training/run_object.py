"""What `train` can ask of its run: generators, datasets, inputs, stages, checkpoints."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.errors import ProjectError
from ..common.locking import PATIENCE
from ..common.scratch import temporary_folder
from ..modeling.result import Result
from ..randomness import seeds

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..datasets.manifest import Dataset
    from .checkpoint import Checkpoints


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
    inputs : Mapping of str to Path, optional
        Where that lies which the conf names under `inputs`.
    """

    def __init__(
        self,
        seed: int,
        checkpoints: Checkpoints | None = None,
        rank: int = 0,
        processes: int = 1,
        inputs: Mapping[str, Path] | None = None,
    ) -> None:
        self.seed = seed
        self.checkpoints = checkpoints
        self.rank = rank
        self.processes = processes
        self.datasets: dict[str, Dataset] = {}
        self.inputs = inputs or {}
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

    def dataset(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        """Read a dataset of data/datasets.yaml as a table, after its digest was checked.

        Parameters
        ----------
        name : str
            The entry: a file, or a folder of parquet files.
        columns : list of str, optional
            Which columns, in this order; all by default.

        Raises
        ------
        ProjectError
            If there is no such entry, it is no table or has no such column, or it is not what was registered.
        """
        from ..datasets import loading

        entry = self._entry(name)
        table = loading.table(entry, columns)
        self._note(entry, table)
        return table

    def path(self, name: str) -> Path:
        """Give the file or folder of a dataset of data/datasets.yaml, after its digest was checked.

        Raises
        ------
        ProjectError
            If there is no such entry, or it is not what was registered.
        """
        entry = self._entry(name)
        self._note(entry, None)
        return entry.file

    def input(self, name: str) -> Path:
        """Give what another run made, which the conf names under `inputs`: the file or folder, verified.

        Raises
        ------
        ProjectError
            If the conf names none so.
        """
        if name not in self.inputs:
            raise ProjectError(
                f"there is no input {name!r} in the conf; it has {', '.join(self.inputs) or 'none'}.",
                f"In the conf:\ninputs:\n  {name}: step:NAME/PATH",
            )
        return self.inputs[name]

    @functools.cached_property
    def folder(self) -> Path:
        """An empty folder for what the run writes, which is gone when it has ended: a place for `outputs`."""
        self._held = contextlib.ExitStack()  # until nobody has the run any more
        folder = self._held.enter_context(temporary_folder("folder")) / "files"  # beside the lock
        folder.mkdir()
        return folder

    def _entry(self, name: str) -> Dataset:
        from ..datasets import loading

        return loading.require(name, PATIENCE if self.rank else 0)

    def _note(self, entry: Dataset, table: pd.DataFrame | None) -> None:
        import mlflow

        from ..datasets import loading

        self.datasets[entry.name] = entry
        self.stages[f"data {entry.name}"] = entry.digest
        if self.rank == 0 and mlflow.active_run():
            loading.log(entry, table)

    def stage(self, name: str, value: Any) -> None:
        """Note the digest of an intermediate result, so that two runs can be told apart where they part.

        Parameters
        ----------
        name : str
            Such as "split".
        value : Any
            Arrays, tables, numbers, text, or mappings and sequences of these; see `digest.of_value`.
        """
        from ..common import digest

        if self.rank == 0:
            self.stages[name] = digest.of_value(value)

    @property
    def device(self) -> str:
        """Where the framework computes: "cuda" where there is a GPU that it can use, else "cpu".

        Of several processes each has a GPU of its own: "cuda:0", "cuda:1", ...
        """
        from ..framework import FRAMEWORK

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


#: A training, or another step: settings and run in, result out.
Train = Callable[[Any, Run], Result]
