"""What is particular to LightGBM: what its boosters are made of and answer, and how they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from .modeling.base import Framework, self_contained


class LightGBM(Framework):
    """Boosters and estimators. Determinism and seed are parameters of each training, and its wheels know no GPU."""

    loader = "mlflow.lightgbm"
    packages = ("lightgbm.sklearn.", "lightgbm.basic.Booster")

    def advice(self, error: BaseException) -> tuple[str, str] | None:
        """Tell what to do where it refuses the name of a column."""
        if not (type(error).__name__ == "LightGBMError" and "feature name" in str(error)):
            return None
        return (
            'LightGBM refuses the name of a column: none of `[]{}",:` may be in it, nor may two be alike.',
            "In model.py, hand over the numbers alone, here and where it predicts: lgb.Dataset(X.to_numpy(), y)",
        )

    def unpack(self, value: Any) -> Any:
        """Give every tree of a booster, and what it answers by; not its parameters, which name its threads."""
        import lightgbm

        if not isinstance(value, lightgbm.Booster):
            return value
        return SimpleNamespace(
            trees=value.model_to_string(num_iteration=-1).partition("end of trees")[0].split("\n\n"),
            best_iteration=value.best_iteration,
            pandas_categorical=value.pandas_categorical,
        )

    def kind(self, model: Any) -> dict[str, str]:
        """Say that it has trees."""
        return {**super().kind(model), "kind": "trees"}

    def probe(self, model: Any, inputs: Any) -> Any:
        """Predict on one thread."""
        import lightgbm

        if not isinstance(model, lightgbm.Booster):
            return super().probe(model, inputs)
        return model.predict(inputs, num_threads=1)

    def log_model(self, model: Any, beside: Mapping[str, Any], names: frozenset[str]) -> str:
        """Log a booster in LightGBM's own format, and what is none by its structure."""
        import lightgbm
        import mlflow.lightgbm

        if type(model) is not lightgbm.Booster:
            return super().log_model(model, beside, names)
        return str(mlflow.lightgbm.log_model(model, **self_contained(beside)).model_uri)

    def refusal(self, flavors: dict[str, Any], own: bool) -> str | None:
        """Refuse pickles."""
        if flavors.get("lightgbm", {}).get("model_class") != "lightgbm.basic.Booster":
            return "it is not stored in LightGBM's own format but as a pickle, which runs any code that is in it"
        return None

    def pack(self, value: Any) -> tuple[str, Any] | None:
        """Give a booster in LightGBM's own format; of one that stopped early, all trees and the best round."""
        import lightgbm

        if type(value) is not lightgbm.Booster:
            return None
        return "booster", {"text": value.model_to_string(num_iteration=-1), "best": value.best_iteration}

    def restore(self, kind: str, content: Any) -> Any:
        """Read what `pack` gave."""
        import lightgbm

        booster = lightgbm.Booster(model_str=content["text"])
        booster.best_iteration = content["best"]
        return booster


FRAMEWORK = LightGBM()
