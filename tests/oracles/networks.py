"""Make every module of PyTorch, or every layer of Keras, and say what the harness makes of each.

Run with a rendered project's Python, in its folder, where `bikes/brought.py` is a copy of brought_pytorch.py or
brought_tensorflow.py: `python networks.py first SHARD SHARDS FOLDER` makes, describes and stores each; after that, in
another process, `again` in place of `first` makes each once more, and with another seed, and loads what was stored.
Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import types
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from described import describe, store

from bikes import brought
from bikes.reproducibility.framework import FRAMEWORK
from bikes.reproducibility.modeling.content import Content

#: Of PyTorch's module tests as many are taken of each module: there are 1,800.
PER_MODULE = 2
#: A network: its name, how it is made and fitted, and what asks it.
Network = tuple[str, Callable[[], Any], Callable[[Any], Any]]


def of_pytorch() -> Iterator[Network]:
    """PyTorch's own list of its modules, as its own tests construct and call them."""
    # PyTorch's tests import a package that only they need.
    sys.modules.setdefault("expecttest", types.ModuleType("expecttest")).TestCase = unittest.TestCase  # type: ignore[attr-defined]
    import torch
    from torch.testing._internal.common_modules import module_db

    def fitted(cls: Any, given: Any) -> Any:
        module = cls(*given.constructor_input.args, **given.constructor_input.kwargs)
        parameters = [part for part in module.parameters() if part.requires_grad]
        try:
            outputs = module(*given.forward_input.args, **given.forward_input.kwargs)
            if parameters:
                sum(part.sum() for part in _tensors(outputs)).backward()
                torch.optim.SGD(parameters, 0.1).step()
        except (RuntimeError, TypeError, AttributeError):  # not every input of the tests is one to learn from
            pass
        return module

    def answer(given: Any, module: Any) -> Any:
        modes = {part: part.training for part in module.modules()}
        with torch.no_grad():
            outputs = module.eval()(*given.forward_input.args, **given.forward_input.kwargs)
        for part, mode in modes.items():
            part.training = mode
        return _tensors(outputs)

    for info in module_db:
        torch.manual_seed(0)
        inputs = info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=True)
        usable = [given for given in inputs if given.forward_input is not None]
        for number, given in enumerate(usable[:PER_MODULE]):
            yield (
                f"{info.name} {number}",
                lambda cls=info.module_cls, given=given: fitted(cls, given),
                lambda module, given=given: answer(given, module),
            )


def _tensors(outputs: Any) -> list[Any]:
    if isinstance(outputs, (list, tuple)):
        return [tensor for part in outputs for tensor in _tensors(part)]
    return [outputs] if hasattr(outputs, "detach") and outputs.is_floating_point() else []


def of_keras() -> Iterator[Network]:
    """Every layer that Keras exports, with the arguments that it asks for, on the rows that fit it."""
    import keras

    for name in sorted(vars(keras.layers)):
        cls = getattr(keras.layers, name)
        if isinstance(cls, type) and issubclass(cls, keras.layers.Layer):
            yield name, lambda cls=cls: brought.around(cls), brought.ask


def made(make: Callable[[], Any], ask: Callable[[Any], Any], seed: int) -> tuple[Any, dict[str, Any]]:
    """Make and fit a network from a seed, and describe it."""
    FRAMEWORK.set_seed(seed)
    np.random.seed(seed)
    network = make()
    return network, describe(network, ask)


def main() -> None:
    time, (shard, shards), folder = sys.argv[1], map(int, sys.argv[2:4]), Path(sys.argv[4])
    listed = of_pytorch() if FRAMEWORK.loader == "mlflow.pytorch" else of_keras()
    found: dict[str, dict[str, Any]] = {}
    for position, (name, make, ask) in enumerate([*brought.networks(), *listed]):
        if position % shards != shard:
            continue
        try:
            network, found[name] = made(make, ask, seed=1)
        except Exception as error:
            found[name] = {"left out": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
            continue
        if time == "first":
            found[name]["not stored"] = store(name, network, folder)
        else:
            found[name]["other"] = made(make, ask, seed=2)[1]
            if (folder / name).exists():
                found[name]["loaded"] = Content(ask(FRAMEWORK.load(folder / name))).digest
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
