"""What a training that stops early gives."""

from typing import Generic, NamedTuple, TypeVar

Model = TypeVar("Model")
#: The losses after each round or epoch: `{"train": [...], "validation": [...]}`.
History = dict[str, list[float]]


class Fitted(NamedTuple, Generic[Model]):
    """A model, and how it came to be.

    Parameters
    ----------
    model : Model
        As it was after the best round or epoch.
    history : dict
        The losses after each: `{"train": [...], "validation": [...]}`.
    best : int
        The best one, counted from 1.
    """

    model: Model
    history: History
    best: int
