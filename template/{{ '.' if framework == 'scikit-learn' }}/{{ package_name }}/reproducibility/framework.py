"""What is particular to scikit-learn: what its estimators answer, and how they are stored."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .modeling.base import Framework
from .modeling.trust import is_trusted
from .source.own_code import is_own


class ScikitLearn(Framework):
    """Estimators and pipelines, whatever they hold."""

    loader = "mlflow.sklearn"

    def probe(self, model: Any, inputs: Any) -> Any:
        """Ask for probabilities where there are any, on one thread: more add the votes of trees in any order."""
        from joblib import parallel_config

        asked = [name for name in ("predict_proba", "predict", "transform") if hasattr(model, name)]
        if not asked:  # some clusterings know their own rows only
            return None
        with parallel_config("sequential"):
            return getattr(model, asked[0])(inputs)

    def kind(self, model: Any) -> dict[str, str]:
        """Say what the last step of a pipeline is: linear models have one optimum."""
        from sklearn.pipeline import Pipeline

        last = model[-1] if isinstance(model, Pipeline) else model
        family = type(last).__module__.split(".")[1:2]
        kinds = {"linear_model": "convex", "ensemble": "trees", "tree": "trees"}
        return {**super().kind(last), "kind": kinds.get("".join(family), "other")}

    def log_model(self, model: Any, beside: Mapping[str, Any], names: frozenset[str]) -> str:
        """Log an estimator without pickle, as skops."""
        import mlflow.sklearn
        import skops.io
        from mlflow.exceptions import MlflowException

        def log(types: list[str]) -> str:
            info = mlflow.sklearn.log_model(
                model, serialization_format="skops", skops_trusted_types=sorted(types), **beside
            )
            return str(info.model_uri)

        types = [name for name in names if name.partition(".")[0] not in sys.stdlib_module_names]
        try:
            return log(types)
        except MlflowException:  # it needs more, or something skops knows no way to store: skops says which
            return log(skops.io.get_untrusted_types(data=skops.io.dumps(model)))

    def refusal(self, flavors: dict[str, Any], own: bool) -> str | None:
        """Refuse pickles, and code outside scikit-learn that is not the project's own."""
        flavor = flavors.get("sklearn", {})
        if flavor.get("serialization_format") != "skops":
            return "it is stored as a pickle, which runs any code that is in it"
        named = flavor.get("skops_trusted_types") or []
        strange = [name for name in named if not (own and is_own(name)) and not is_trusted(name)]
        return f"it names code outside scikit-learn: {', '.join(strange)}" if strange else None


FRAMEWORK = ScikitLearn()
