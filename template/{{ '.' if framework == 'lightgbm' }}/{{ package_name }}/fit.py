"""The training of the trees: boosting in parts, early stopping, checkpoints."""

import json

import lightgbm as lgb
import pandas as pd

from . import progress
from .model import after, matrix
from .reproducibility import Run
from .settings import Settings

Rows = tuple[pd.DataFrame, pd.Series]
History = dict[str, list[float]]

#: What the curves go by.
STEP = "round"


def fit(train: Rows, validation: Rows, settings: Settings, run: Run) -> tuple[lgb.Booster, History, int]:
    """Boost trees until the validation loss has not fallen for a while.

    Parameters
    ----------
    train, validation : tuple of (pandas.DataFrame, pandas.Series)
        Rows and their target: those learned from, and those that decide when to stop.
    settings : Settings
        `model` and `threads` are used.
    run : Run
        Draws the seed of the sampling of rows and columns; keeps checkpoints; notes the trees after rounds 1, 2, 4, ...

    Returns
    -------
    tuple of (lightgbm.Booster, dict, int)
        The model with the trees up to the best round; the losses after each round: `{"train": [...],
        "validation": [...]}`; and the best round, counted from 1.

    Notes
    -----
    Every training, interrupted or not, starts afresh at each checkpoint: from the model as it is stored, with a seed
    of its own. So a resumed one goes through the same states as one that was never interrupted.
    """
    model = settings.model
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
    booster = lgb.Booster(model_str=lgb.Booster(model_str=text).model_to_string(num_iteration=best))
    for count in (1, 2, 4, 8, 16, 32):
        run.stage(f"round {count}", after(booster, count))
    return booster, history, best
