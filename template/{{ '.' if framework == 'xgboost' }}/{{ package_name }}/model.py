"""The model: gradient-boosted trees of XGBoost, as many as the validation rows want."""

import json
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb

from . import progress
from .reproducibility import Run
from .settings import Settings

Rows = tuple[pd.DataFrame, pd.Series]


class _Note(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Keeps the losses of each round, and stops where they fall no more."""

    def __init__(self, history: dict[str, list[float]], advance: progress.Advance, patience: int) -> None:
        self.history = history
        self.advance = advance
        self.patience = patience

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, dict[str, list[float]]]) -> bool:
        for rows, curves in evals_log.items():
            self.history[rows].append(float(next(iter(curves.values()))[-1]))
        losses = self.history["validation"]
        self.advance(losses[-1])
        return progress.is_over(losses, self.patience)


def fit(train: Rows, validation: Rows, settings: Settings, run: Run) -> tuple[xgb.Booster, dict[str, list[float]]]:
    """Boost trees until the validation loss has not fallen for a while.

    Parameters
    ----------
    train, validation : tuple of (pandas.DataFrame, pandas.Series)
        Rows and their target: those learned from, and those that decide when to stop.
    settings : Settings
        `model` and `threads` are used.
    run : Run
        Draws the seed of the sampling of rows and columns; keeps checkpoints.

    Returns
    -------
    tuple of (xgboost.Booster, dict)
        The model with the trees up to the best round, and the losses after each round: `{"train": [...],
        "validation": [...]}`.

    Notes
    -----
    Every training, interrupted or not, starts afresh at each checkpoint: from the model as it is stored, with a seed
    of its own. So a resumed one goes through the same states as one that was never interrupted.
    """
    model = settings.model
    seed = int(run.rng("model").integers(2**30))
    content = run.restored.get("model.ubj", b"")
    history: dict[str, list[float]] = json.loads(run.restored.get("history.json", b'{"train": [], "validation": []}'))
    losses = history["validation"]
    learned, watched = matrix(*train), matrix(*validation)
    with progress.bar(model.rounds, len(losses)) as advance:
        while len(losses) < model.rounds and not progress.is_over(losses, model.early_stopping_rounds):
            parameters = {
                **model.model_dump(exclude={"rounds", "early_stopping_rounds", "checkpoint_rounds"}),
                "tree_method": "hist",
                "seed": seed + len(losses),
                "nthread": settings.threads,
                "device": run.device,
            }
            booster = xgb.train(
                parameters,
                learned,
                num_boost_round=min(model.checkpoint_rounds, model.rounds - len(losses)),
                xgb_model=xgb.Booster(model_file=bytearray(content)) if content else None,
                evals=[(learned, "train"), (watched, "validation")],
                callbacks=[_Note(history, advance, model.early_stopping_rounds)],
                verbose_eval=False,
            )
            content = bytes(booster.save_raw("ubj"))
            run.checkpoint({"model.ubj": content, "history.json": json.dumps(history).encode()})
    best = losses.index(min(losses)) + 1
    return xgb.Booster(model_file=bytearray(content))[:best], history


def matrix(X: pd.DataFrame, y: pd.Series | None = None) -> xgb.DMatrix:
    """Put rows into the form that the model takes: by position, since XGBoost refuses `[`, `]` and `<` in names."""
    return xgb.DMatrix(X.to_numpy(), y)


def rounds(booster: xgb.Booster) -> int:
    """Count the rounds whose trees are kept."""
    return int(booster.num_boosted_rounds())


def after(booster: xgb.Booster, count: int) -> list[str]:
    """Give the trees as they stood after some rounds, as JSON with every digit of their numbers."""
    return list(booster[: min(count, rounds(booster))].get_dump(dump_format="json", with_stats=True))


def importances(booster: xgb.Booster) -> np.ndarray[Any, Any]:
    """Give each column's share of what all splits reduced the loss by; shape (features,)."""
    gains = booster.get_score(importance_type="total_gain")
    gain = np.array([gains.get(f"f{i}", 0.0) for i in range(booster.num_features())])
    return gain / gain.sum() if gain.any() else gain
