"""The model: gradient-boosted trees of LightGBM, as many as the validation rows want."""

import json
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from . import progress
from .reproducibility import Run
from .settings import Settings

Rows = tuple[pd.DataFrame, pd.Series]


def fit(train: Rows, validation: Rows, settings: Settings, run: Run) -> tuple[lgb.Booster, dict[str, list[float]]]:
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
    tuple of (lightgbm.Booster, dict)
        The model with the trees up to the best round, and the losses after each round: `{"train": [...],
        "validation": [...]}`.

    Notes
    -----
    Every training, interrupted or not, starts afresh at each checkpoint: from the model as it is stored, with a seed
    of its own. So a resumed one goes through the same states as one that was never interrupted.
    """
    model = settings.model
    seed = int(run.rng("model").integers(2**30))
    text = run.restored.get("model.txt", b"").decode()
    history: dict[str, list[float]] = json.loads(run.restored.get("history.json", b'{"train": [], "validation": []}'))
    losses = history["validation"]

    def note(state: lgb.callback.CallbackEnv) -> None:
        for rows, _, loss, *_ in state.evaluation_result_list:
            history[rows].append(loss)
        advance(losses[-1])
        if progress.is_over(losses, model.early_stopping_rounds):
            raise lgb.callback.EarlyStopException(state.iteration, state.evaluation_result_list)

    with progress.bar(model.rounds, len(losses)) as advance:
        while len(losses) < model.rounds and not progress.is_over(losses, model.early_stopping_rounds):
            parameters = {
                **model.model_dump(exclude={"rounds", "early_stopping_rounds", "checkpoint_rounds"}),
                "bagging_freq": 1,
                "seed": seed + len(losses),
                "num_threads": settings.threads,
                # Histograms of many rows are otherwise added in an order that differs from run to run.
                "deterministic": True,
                "force_row_wise": True,
                "verbosity": -1,
            }
            learned = lgb.Dataset(matrix(train[0]), train[1], params=parameters)
            booster = lgb.train(
                parameters,
                learned,
                num_boost_round=min(model.checkpoint_rounds, model.rounds - len(losses)),
                init_model=lgb.Booster(model_str=text) if text else None,
                valid_sets=[learned, lgb.Dataset(matrix(validation[0]), validation[1], reference=learned)],
                valid_names=["train", "validation"],
                callbacks=[note],
            )
            text = booster.model_to_string(num_iteration=-1)
            run.checkpoint({"model.txt": text.encode(), "history.json": json.dumps(history).encode()})
    best = losses.index(min(losses)) + 1
    return lgb.Booster(model_str=lgb.Booster(model_str=text).model_to_string(num_iteration=best)), history


def matrix(X: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Put rows into the form that the model takes: by position, since LightGBM refuses `[]{}",:` in names."""
    return X.to_numpy()


def rounds(booster: lgb.Booster) -> int:
    """Count the rounds whose trees are kept."""
    return int(booster.current_iteration())


def after(booster: lgb.Booster, count: int) -> str:
    """Give the trees as they stood after some rounds, as text."""
    return str(booster.model_to_string(num_iteration=min(count, rounds(booster)))).partition("end of trees")[0]


def importances(booster: lgb.Booster) -> np.ndarray[Any, Any]:
    """Give each column's share of what all splits reduced the loss by; shape (features,)."""
    gain = booster.feature_importance("gain")
    return np.asarray(gain / gain.sum() if gain.any() else gain)
