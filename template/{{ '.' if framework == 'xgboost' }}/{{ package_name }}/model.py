"""The model: gradient-boosted trees of XGBoost, as many as the validation rows want."""

import xgboost as xgb


def rounds(booster: xgb.Booster) -> int:
    """Count the rounds whose trees are kept."""
    return int(booster.num_boosted_rounds())


def after(booster: xgb.Booster, count: int) -> list[str]:
    """Give the trees as they stood after some rounds, as JSON with every digit of their numbers."""
    return list(booster[: min(count, rounds(booster))].get_dump(dump_format="json", with_stats=True))
