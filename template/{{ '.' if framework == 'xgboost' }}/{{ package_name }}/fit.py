"""The training of the trees: boosting in parts, early stopping, checkpoints."""

import json
from typing import Any

import numpy as np
import xgboost as xgb

from . import progress
from .fitted import Fitted, History
from .model import after
from .reproducibility import ProjectError, Run
from .settings import Settings

#: Numbers of shape (rows, features), and the target: numbers of classes, or values.
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]

#: What the curves go by.
STEP = "round"


class _Note(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Keeps the losses of each round, and stops where they fall no more."""

    def __init__(self, history: History, advance: progress.Advance, patience: int) -> None:
        self.history = history
        self.advance = advance
        self.patience = patience

    def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, dict[str, list[float]]]) -> bool:
        for rows, curves in evals_log.items():
            self.history[rows].append(float(next(iter(curves.values()))[-1]))
        losses = self.history["validation"]
        self.advance(losses[-1])
        return progress.is_over(losses, self.patience)


def fit(train: Rows, validation: Rows, settings: Settings, run: Run, classes: int = 0) -> Fitted[xgb.Booster]:
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
            "In the conf, under `model:`, say objective: multi:softprob and eval_metric: mlogloss",
        )
    seed = int(run.rng("model").integers(2**30))
    content = run.restored.get("model.ubj", b"")
    history: History = json.loads(run.restored.get("history.json", b'{"train": [], "validation": []}'))
    losses = history["validation"]
    learned, watched = xgb.DMatrix(*train), xgb.DMatrix(*validation)
    with progress.bar(model.rounds, len(losses)) as advance:
        while len(losses) < model.rounds and not progress.is_over(losses, model.early_stopping_rounds):
            parameters = {
                **model.model_dump(exclude={"rounds", "early_stopping_rounds", "checkpoint_rounds"}),
                **several,
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
    booster = xgb.Booster(model_file=bytearray(content))[:best]
    for count in (1, 2, 4, 8, 16, 32):
        run.stage(f"round {count}", after(booster, count))
    return Fitted(booster, history, best)
