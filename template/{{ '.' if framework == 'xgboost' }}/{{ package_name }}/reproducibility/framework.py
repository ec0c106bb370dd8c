"""What is particular to XGBoost: what its boosters are made of and answer, and how they are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from .modeling.base import Framework, self_contained


class XGBoost(Framework):
    """Boosters and estimators. `tree_method: hist` has no other algorithms, and each training is given its seed."""

    loader = "mlflow.xgboost"
    packages = ("xgboost.sklearn.XGB", "xgboost.core.Booster")

    def device(self) -> str:
        """Tell whether there is a GPU that this build of XGBoost can use."""
        import xgboost

        from .common import gpus

        return "cuda" if xgboost.build_info()["USE_CUDA"] and gpus.gpus() else "cpu"

    def advice(self, error: BaseException) -> tuple[str, str] | None:
        """Tell what to do where it refuses the name of a column."""
        if not (isinstance(error, ValueError) and "feature_names must be string" in str(error)):
            return None
        return (
            "XGBoost refuses the name of a column: `[`, `]` and `<` may not be in it, nor may two be alike.",
            "In model.py, hand over the numbers alone, here and where it predicts: xgb.DMatrix(X.to_numpy(), y)",
        )

    def unpack(self, value: Any) -> Any:
        """Give every tree or weight of a booster, and what it answers by; not its threads and device."""
        import xgboost

        if not isinstance(value, xgboost.Booster):
            return value
        learner = json.loads(value.save_raw("json"))["learner"]
        learner["attributes"].pop("scikit_learn", None)
        return SimpleNamespace(**learner)

    def kind(self, model: Any) -> dict[str, str]:
        """Say that it has trees."""
        return {**super().kind(model), "kind": "trees"}

    def predict(self, model: Any, rows: Any) -> Any:
        """Predict with a booster for rows whose columns may have any name."""
        import xgboost

        if not isinstance(model, xgboost.Booster):
            return super().predict(model, rows)
        return model.predict(matrix(rows, model.feature_names))

    def log_model(self, model: Any, beside: Mapping[str, Any], names: frozenset[str]) -> str:
        """Log a booster in XGBoost's own format, and what is none by its structure."""
        import mlflow.xgboost
        import xgboost

        # MLflow hands over the columns by the names that they have in the table.
        columns = beside["metadata"]["columns"]
        named = isinstance(columns, list) and any(set("[]<") & set(str(name)) for name in columns)
        if type(model) is not xgboost.Booster or model.feature_names not in (None, columns) or named:
            return super().log_model(model, beside, names)
        info = mlflow.xgboost.log_model(model, **self_contained(beside), model_format="ubj")
        return str(info.model_uri)

    def refusal(self, flavors: dict[str, Any], own: bool) -> str | None:
        """Refuse what is not a plain booster."""
        if flavors.get("xgboost", {}).get("model_class") != "xgboost.core.Booster":
            return "it is not a plain booster: it names a class of its own, whose code would run"
        return None

    def pack(self, value: Any) -> tuple[str, Any] | None:
        """Give a booster in XGBoost's own format."""
        import xgboost

        return ("booster", bytes(value.save_raw("ubj"))) if type(value) is xgboost.Booster else None

    def restore(self, kind: str, content: Any) -> Any:
        """Read what `pack` gave."""
        import xgboost

        return xgboost.Booster(model_file=bytearray(content))


def matrix(rows: Any, names: list[str] | None) -> Any:
    """Give rows as XGBoost takes them: columns by their names, or by position where the booster has others for them.

    Parameters
    ----------
    rows : pandas.DataFrame, numpy.ndarray or sparse matrix, shape (n, columns)
    names : list of str, optional
        One a column.

    Returns
    -------
    xgboost.DMatrix
    """
    import xgboost

    if hasattr(rows, "columns"):
        rows = rows[names] if names and {*names} == {*rows.columns} else rows
        rows = rows.set_axis(names or [f"f{i}" for i in range(rows.shape[1])], axis=1)
    return xgboost.DMatrix(rows, feature_names=names)


FRAMEWORK = XGBoost()
