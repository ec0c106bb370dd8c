"""What `train` gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..adapter import ModelAdapter


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
    figures : Mapping of str to callable or matplotlib.figure.Figure
        The pictures of the run, by name; or what draws them, which a trial of a sweep that keeps none does without.
    adapter : ModelAdapter, optional
        Of your own, for a model that the framework's does not know: what of it is compared, and how it is stored.
    outputs : Mapping of str to Path
        Files and folders that later steps use, by name: `step:NAME_OF_THIS_STEP/NAME` is their address in a conf.
        A step without a model is `Result(None, None, None, metrics, outputs={…})`.
    """

    model: Any
    inputs: Any
    predictions: Any
    metrics: Mapping[str, float]
    figures: Mapping[str, Callable[[], Figure] | Figure] = field(default_factory=dict)
    adapter: ModelAdapter | None = None
    outputs: Mapping[str, Path] = field(default_factory=dict)
