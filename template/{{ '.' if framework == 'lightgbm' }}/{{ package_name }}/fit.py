"""The training of the trees: boosting in parts, early stopping, checkpoints."""

import json
from typing import Any

import lightgbm as lgb
import numpy as np

from . import progress
from .fitted import Fitted, History
from .model import after
from .reproducibility import ProjectError, Run
from .settings import Settings

#: Numbers of shape (rows, features), and the target: numbers of classes, or values.
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

#: What the curves go by.
STEP = "round"


def fit(train: Rows, validation: Rows, settings: Settings, run: Run, classes: int = 0) -> Fitted[lgb.Booster]:
    """Boost trees until the validation loss has not fallen for a while.

    Parameters
    ----------
    train, validation : tuple of (ndarray, ndarray)
        Numbers and their target: those learned from, and those that decide when to stop.
    settings : Settings
        `model` and `threads` are used.
    run : Run
        Draws the seed of the sampling of rows and columns; keeps checkpoints; notes the trees after rounds 1, 2, 4, ...
    classes : int
        How many there are; 0 where values are predicted.

    Returns
    -------
    Fitted
        The trees up to the best round.

    Raises
    ------
    ProjectError
        If the objective is one of two classes, and there are more.

    Notes
    -----
    Every training, interrupted or not, starts afresh at each checkpoint: from the model as it is stored, with a seed
    of its own. So a resumed one goes through the same states as one that was never interrupted.
    """
    model = settings.model
    several = {"num_class": classes} if classes > 2 else {}
    if several and model.objective.startswith("binary"):
        raise ProjectError(
            f"objective {model.objective!r} is of two classes, and the target has {classes}.",
            "In the conf, under `model:`, say objective: multiclass and metric: multi_logloss",
        )
    seed = int(run.rng("model").integers(2**30))
    text = run.restored.get("model.txt", b"").decode()
    history: History = json.loads(run.restored.get("history.json", b'{"train": [], "validation": []}'))
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
                **several,
                "bagging_freq": 1,
                "seed": seed + len(losses),
                "num_threads": settings.threads,
                # Histograms of many rows are otherwise added in an order that differs from run to run.
                "deterministic": True,
                "force_row_wise": True,
                "verbosity": -1,
            }
            learned = lgb.Dataset(*train, params=parameters)
            booster = lgb.train(
                parameters,
                learned,
                num_boost_round=min(model.checkpoint_rounds, model.rounds - len(losses)),
                init_model=lgb.Booster(model_str=text) if text else None,
                valid_sets=[learned, lgb.Dataset(*validation, reference=learned)],
                valid_names=["train", "validation"],
                callbacks=[note],
            )
            text = booster.model_to_string(num_iteration=-1)
            run.checkpoint({"model.txt": text.encode(), "history.json": json.dumps(history).encode()})
    best = losses.index(min(losses)) + 1
    booster = lgb.Booster(model_str=lgb.Booster(model_str=text).model_to_string(num_iteration=best))
    for count in (1, 2, 4, 8, 16, 32):
        run.stage(f"round {count}", after(booster, count))
    return Fitted(booster, history, best)
