"""What the harness asks of a framework, besides models: its switches, its seeds, where it computes."""

from __future__ import annotations

from typing import Any

from .adapter import ModelAdapter


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
        The module of MLflow that loads the models of `log_model`.
    """

    launch_variables: dict[str, str] = {}  # noqa: RUF012 - overridden, never changed
    thread_variables: tuple[str, ...] = ()
    load_variables: dict[str, str] = {}  # noqa: RUF012 - overridden, never changed
    loader = ""

    def set_deterministic(self, warn_only: bool) -> None:
        """Switch deterministic algorithms on, where the framework has others.

        Parameters
        ----------
        warn_only : bool
            Let an operation that has none pass with a warning. Otherwise it is an error.
        """

    def nondeterministic_operation(self, error: BaseException) -> str | None:
        """Name the operation without a deterministic form that ended a training; None if something else did."""
        return None

    def set_seed(self, seed: int) -> dict[str, int]:
        """Seed the framework's own generators, and tell which; many draw from NumPy's."""
        return {}

    def device(self) -> str:
        """Tell where the framework computes: on a GPU, "cuda", if there is one that it can use."""
        return "cpu"

    def unpack(self, value: Any) -> Any:
        """Give what an object of the framework holds, where pickle's view of it is not its content.

        Parameters
        ----------
        value : Any
            Any part of a model.

        Returns
        -------
        Any
            Values, or `value` itself.
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
