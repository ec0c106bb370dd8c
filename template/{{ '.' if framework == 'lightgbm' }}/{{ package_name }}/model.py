"""The model: gradient-boosted trees of LightGBM, as many as the validation rows want."""

import lightgbm as lgb


def rounds(booster: lgb.Booster) -> int:
    """Count the rounds whose trees are kept."""
    return int(booster.current_iteration())


def after(booster: lgb.Booster, count: int) -> str:
    """Give the trees as they stood after some rounds, as text."""
    return str(booster.model_to_string(num_iteration=min(count, rounds(booster)))).partition("end of trees")[0]
