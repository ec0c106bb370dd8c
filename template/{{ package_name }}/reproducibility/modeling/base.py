"""What the harness asks of a framework, besides models: its switches, its seeds, where it computes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from ..adapter import ModelAdapter


class Ended(NamedTuple):
    """How a process ended that trained together with others.

    Parameters
    ----------
    code : int
        Its exit code; of a signal, the negative number.
    when : float
        When that was noticed, in seconds since 1970.
    said : str
        The last lines that went to a file and not to the terminal.
    """

    code: int
    when: float
    said: str


class Framework(ModelAdapter):
    """The default of all frameworks; framework.py overrides what is particular to the chosen one.

    Attributes
    ----------
    launch_variables : dict of str to str
        Environment variables that only this framework needs.
    thread_variables : tuple of str
        Environment variables that only this framework reads its number of threads from.
    load_variables : dict of str to str
        Environment variables for loading a stored model unseen.
    loader : str
        The module of MLflow that loads the models of `log_model`; none where they are stored by their structure.
    packages : tuple of str
        Where the framework's own classes stand that a stored structure may name.
    forks : bool
        Whether a process that has imported it can be forked, and trains in the child as a fresh one does.
    """

    launch_variables: dict[str, str] = {}  # noqa: RUF012 - overridden, never changed
    thread_variables: tuple[str, ...] = ()
    load_variables: dict[str, str] = {}  # noqa: RUF012 - overridden, never changed
    loader = ""
    packages: tuple[str, ...] = ()
    forks = True

    def quieten(self) -> None:
        """Keep what the framework tells of itself from the terminal, unless that is asked for; most tell nothing."""

    def switches(self, warn_only: bool) -> dict[str, Callable[[], object]]:
        """Give what switches deterministic algorithms on, by its name in the framework.

        An operation that has no deterministic algorithm is an error, or with `warn_only` a warning.
        """
        return {}

    def set_deterministic(self, warn_only: bool, but: Collection[str] = ()) -> None:
        """Turn every switch, but those that are named: `selftest` asks what each is good for."""
        for name, turn in self.switches(warn_only).items():
            if name not in but:
                turn()

    def precision(self) -> dict[str, str]:
        """Tell by which settings the framework computes with fewer bits than its numbers have; TF32 is one."""
        return {}

    def nondeterministic_operation(self, error: BaseException) -> str | None:
        """Name the operation without a deterministic form that ended a training; None if something else did."""
        return None

    def advice(self, error: BaseException) -> tuple[str, str] | None:
        """Give cause and fix of an error of the framework's own that ended a training, where it says neither."""
        return None

    def set_seed(self, seed: int) -> dict[str, int]:
        """Seed the framework's own generators, and tell which; many draw from NumPy's."""
        return {}

    def device(self) -> str:
        """Tell where the framework computes: on a GPU, "cuda", if there is one that it can use."""
        return "cpu"

    def processes(self, settings: Mapping[str, Any]) -> int:
        """Tell how many processes train together by the resolved conf: one, where the framework has no word for more.

        Raises
        ------
        ProjectError
            If so many cannot train together here.
        """
        return 1

    def launch(self, command: list[str], processes: int, folder: Path) -> dict[int, Ended]:
        """Run a command in processes that train together, until all have ended; if one fails, end the others.

        Parameters
        ----------
        command : list of str
            What each runs; RANK says which it is, from 0.
        processes : int
            How many.
        folder : Path
            Of this training alone: where they meet. What others than the first print goes to a file there.

        Returns
        -------
        dict of int to Ended
            Those that failed, by rank.
        """
        raise NotImplementedError

    def group(self, rank: int, processes: int, folder: Path) -> AbstractContextManager[None]:
        """Meet the other processes of a training, in the folder of `launch`, and part from them when it is done."""
        raise NotImplementedError

    def unpack(self, value: Any) -> Any:
        """Give what an object of the framework holds, where pickle's view of it is not its content.

        Returns
        -------
        Any
            `value` itself; a `types.SimpleNamespace` of its parts; or what counts in its place.
        """
        return value

    def refusal(self, flavors: dict[str, Any], own: bool) -> str | None:
        """Say why a stored model must not be loaded unseen, or None if it may be.

        Parameters
        ----------
        flavors : dict
            The flavours of the stored MLmodel file, which name `loader` and no code of their own.
        own : bool
            Whether the classes of the project that it names may be taken from the project.
        """
        return None

    def predict(self, model: Any, rows: Any) -> Any:
        """Predict with a model, or with each of several: one column or more a model."""
        models = model.values() if isinstance(model, Mapping) else model
        if isinstance(model, Mapping | list | tuple):
            import numpy as np

            return np.column_stack([np.asarray(self.predict(one, rows)) for one in models])
        return model.predict(rows)

    def save(self, model: Any, folder: Path) -> None:
        """Write a model down by its structure, and read it back to see that nothing was lost.

        Raises
        ------
        NotImplementedError
            If something in it is neither a value nor of a known class.
        """
        from . import structure  # not at the top: the doctor reads this module with whatever Python there is
        from .content import Content
        from .tree import differing

        structure.save(model, folder, self)
        written, read = (Content(one, self.unpack).tree.named() for one in (model, self.load(folder)))
        if lost := differing(written, read):
            raise NotImplementedError(f"read back, it would be another: {', '.join(lost[:5])}")

    def load(self, folder: Path) -> Any:
        """Read what `save` wrote."""
        from . import structure

        return structure.load(folder, self)

    def pack(self, value: Any) -> tuple[str, Any] | None:
        """Give a part of a model as values from which `restore` makes it again.

        Returns
        -------
        tuple of (str, Any), optional
            A word for its kind, and numbers, texts, bytes, arrays, or mappings and sequences of these; None where the
            framework has no word for it.
        """
        return None

    def restore(self, kind: str, content: Any) -> Any:
        """Make what `pack` gave, without running code that came with it."""
        raise NotImplementedError(kind)


def self_contained(beside: Mapping[str, Any]) -> dict[str, Any]:
    """Say that a stored model needs no code of the project."""
    code = beside["metadata"]["code"] | {"modules": {}}
    return {**beside, "metadata": {**beside["metadata"], "code": code}}
