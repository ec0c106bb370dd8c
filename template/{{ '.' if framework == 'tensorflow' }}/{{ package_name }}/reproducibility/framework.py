"""What is particular to TensorFlow and Keras: switches, what networks are made of and answer, how they are stored."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .common import quiet
from .common.project import PACKAGE
from .common.scratch import temporary_folder
from .modeling.base import Framework, self_contained

if TYPE_CHECKING:
    import keras

#: Rows that are predicted at once.
BATCH = 10_000
#: How lines of TensorFlow's log begin, but for those of what ends the process.
LOGGED = r"[IWE]\d{4} \d\d:|\d{4}-\d\d-\d\d [\d:.]+: [IWE] |WARNING: All log messages before absl::InitializeLog\(\)"
#: What a network holds for its training alone.
FOR_TRAINING = frozenset(
    {"optimizer", "loss", "compiled", "history", "steps_per_execution", "unrolled_steps_per_execution"}
    | {f"{what}_function" for what in ("train", "test", "predict")}
    | {f"stop_{what}" for what in ("training", "evaluating", "predicting")}
)
#: What a configuration names besides what a layer does.
UNNAMED = frozenset({"name", "build_config", "build_input_shape"})


class TensorFlow(Framework):
    """Networks of Keras, whatever they hold."""

    # Level 3 leaves out what TensorFlow logs of a missing GPU and of its own graphs; what goes wrong is an exception.
    launch_variables = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}  # noqa: RUF012
    thread_variables = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    loader = "mlflow.keras"
    forks = False  # its threads are not there in the child, which then waits for them for ever

    def quieten(self) -> None:
        """Leave out what the libraries of TensorFlow log before they have read how much they may."""
        sys.meta_path.insert(0, quiet.Importing("tensorflow", LOGGED, "TF_CPP_MIN_LOG_LEVEL"))

    def switches(self, warn_only: bool) -> dict[str, Callable[[], object]]:
        """Let TensorFlow use deterministic operations only.

        TensorFlow knows no warning in place of the error: with `warn_only` the switch is left off, with a notice.

        Notes
        -----
        `tf.config.experimental.enable_op_determinism` in TensorFlow's documentation; it cannot be taken back.
        """
        import tensorflow as tf

        def left_off() -> None:
            print(
                "notice: nondeterminism: warn leaves TensorFlow's op determinism off; this run may not repeat",
                file=sys.stderr,
            )

        return {
            "tf.config.experimental.enable_op_determinism()": (
                left_off if warn_only else tf.config.experimental.enable_op_determinism
            )
        }

    def precision(self) -> dict[str, str]:
        """Name the setting of TF32 and the types that layers compute with."""
        import keras
        import tensorflow as tf

        return {
            "TF32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
            "layers": str(keras.mixed_precision.global_policy().name),
            "default type": keras.config.floatx(),
        }

    def nondeterministic_operation(self, error: BaseException) -> str | None:
        """Find TensorFlow's own words, which stand between names of nodes and, of a graph, lines of a trace."""
        text = str(error)
        own = type(error).__module__.startswith("tensorflow")
        # Random numbers without a seed are refused in Python.
        own = own or (isinstance(error, RuntimeError) and "determinism is enabled" in text)
        found = re.search(r"[^\n{}]*determinis[^\n\[]*", text, re.IGNORECASE) if own else None
        sentences = found[0].strip(" .").split(". ") if found else []
        return next((sentence for sentence in sentences if "determinis" in sentence.lower()), None)

    def device(self) -> str:
        """Tell whether there is a GPU that TensorFlow can use."""
        import tensorflow as tf

        return "cuda" if tf.config.list_physical_devices("GPU") else "cpu"

    def set_seed(self, seed: int) -> dict[str, int]:
        """Seed the global generators of TensorFlow and Keras. `tf.random.set_seed` alone leaves those of Keras."""
        import keras

        keras.utils.set_random_seed(seed)
        return {"tensorflow": seed, "keras": seed}

    def unpack(self, value: Any) -> Any:
        """Give weights, configuration and layers of a network, in their order: names hold counters of the process."""
        import keras

        match value:
            case keras.Layer():
                return SimpleNamespace(**_held(value))
            case keras.Variable():
                return value.numpy()
            case keras.KerasTensor():
                return [value.shape, value.dtype]
            case keras.random.SeedGenerator():
                return value.state
            case keras.Optimizer() | keras.Loss() | keras.Metric() | keras.callbacks.Callback():
                return None  # it serves the training alone
            case list() | dict() | set() if type(value).__module__.startswith("keras."):  # they tell a layer of changes
                return next(kind(value) for kind in (list, dict, set) if isinstance(value, kind))
        return value

    def predict(self, model: Any, rows: Any) -> Any:
        """Predict in large batches. `Model.predict` builds a pipeline of TensorFlow's for each call."""
        import keras
        import numpy as np

        if not isinstance(model, keras.Model) or not hasattr(rows, "__array__"):
            return super().predict(model, rows)
        array = rows.to_numpy() if hasattr(rows, "to_numpy") else np.asarray(rows)
        parts = [model.predict_on_batch(array[first : first + BATCH]) for first in range(0, len(array), BATCH)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def log_model(self, model: Any, beside: Mapping[str, Any], names: frozenset[str]) -> str:
        """Log a network in Keras's own format; what holds code of the project, or is no network, by its structure."""
        import keras
        import mlflow.keras
        from mlflow.models import ModelSignature, infer_signature

        own = any(name.startswith(f"{PACKAGE}.") for name in names)
        own = own or not isinstance(model, keras.Model) or not _is_compiled_by_keras(model)
        if own or beside["signature"] is None:
            return super().log_model(model, beside, names)
        example = beside["input_example"]
        rows = example.to_numpy("float32") if hasattr(example, "to_numpy") else example
        signature = ModelSignature(infer_signature(rows).inputs, beside["signature"].outputs)
        # MLflow 3.17 cannot store an example with this flavour: it writes it before the model's folder is made.
        beside = {**self_contained(beside), "signature": signature, "input_example": None}
        return str(mlflow.keras.log_model(model, **beside).model_uri)

    def refusal(self, flavors: dict[str, Any], own: bool) -> str | None:
        """Refuse graphs. Keras itself refuses a lambda, which would be code, in the format that is allowed here."""
        if flavors.get("keras", {}).get("save_exported_model"):
            return "it is a graph of TensorFlow's, which runs what is in it"
        return None

    def pack(self, value: Any) -> tuple[str, Any] | None:
        """Give a network in Keras's own format, with the names of the project's classes and functions in it."""
        import keras

        if not isinstance(value, keras.Model):
            return None
        with temporary_folder("model") as folder:
            path = folder / "network.keras"
            value.save(path)
            content = path.read_bytes()
        return "network", {"file": content, "own": _own(value)}

    def restore(self, kind: str, content: Any) -> Any:
        """Read what `pack` gave."""
        import keras

        with temporary_folder("model") as folder:
            path = folder / "network.keras"
            path.write_bytes(content["file"])
            own = {part.__name__: part for part in content["own"]}
            return keras.saving.load_model(path, custom_objects=own, compile=False, safe_mode=True)


def _held(layer: keras.Layer) -> dict[str, Any]:
    """Give what a layer is made of: variables, configuration, layers in it, and what a class of one's own adds."""
    import keras

    variables = [*layer._trainable_variables, *layer._non_trainable_variables]
    held: dict[str, Any] = {"weights": variables, "layers": list(layer._layers)}
    if hasattr(layer, "get_vocabulary"):
        held["vocabulary"] = layer.get_vocabulary()
    if isinstance(layer, keras.layers.Lambda):
        return held | {"function": layer.function, "arguments": layer.arguments}
    try:
        config = layer.get_config()
    except Exception:  # a class of one's own need not have any
        config = {}
    names = [part["config"]["name"] for part in config.get("layers", ()) if "name" in part.get("config", {})]
    held["config"] = _nameless(config, names)
    if not type(layer).__module__.startswith("keras."):
        # Layers of Keras draw while they learn, others perhaps while they predict.
        attributes = {name: value for name, value in vars(layer).items() if not name.startswith("_")}
        held |= {name: value for name, value in attributes.items() if name not in {*vars(keras.Model()), *FOR_TRAINING}}
    return held


def _nameless(config: Any, names: list[str]) -> Any:
    """Give a configuration without the names of layers: where one is connected to another, by its position."""
    match config:
        case {"class_name": "__lambda__"}:
            return "lambda"
        case dict():
            return {
                key: [part.get("inbound_nodes") for part in value] if key == "layers" else value
                for key, value in ((key, _nameless(value, names)) for key, value in config.items())
                if key not in UNNAMED
            }
        case [str() as name, int(), int()] if name in names:
            return [names.index(name), *config[1:]]
        case list() | tuple():
            return [_nameless(value, names) for value in config]
    return config


def _is_compiled_by_keras(network: keras.Model) -> bool:
    """Tell whether Keras alone can make loss, metrics and optimizer of a network again."""
    import keras

    try:
        keras.saving.deserialize_keras_object(network.get_compile_config() or {})
    except (TypeError, ValueError):
        return False
    return True


def _own(network: keras.Model) -> list[Any]:
    """Find the project's classes and functions that a network is put together from."""
    found: dict[str, Any] = {}
    for layer in network._flatten_layers():
        for value in (type(layer), *vars(layer).values(), *map(type, vars(layer).values())):
            if str(getattr(value, "__module__", "")).startswith(f"{PACKAGE}.") and hasattr(value, "__qualname__"):
                found[value.__qualname__] = value
    return [found[name] for name in sorted(found)]


FRAMEWORK = TensorFlow()
