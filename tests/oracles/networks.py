"""Make every module of PyTorch, or every layer of Keras, and say what the harness makes of each.

Run with a rendered project's Python, in its folder, where `bikes/brought.py` is a copy of brought_pytorch.py or
brought_tensorflow.py: `python networks.py SEED SHARD SHARDS [--store FOLDER | --load FOLDER]`. Prints one JSON object: by
network, the digest of its content, that of the same network after it was asked to predict, and that of its answer; and
with `--store` why it was not stored.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))
warnings.simplefilter("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from bikes import brought
from bikes.reproducibility.content import Content
from bikes.reproducibility.framework import FRAMEWORK

#: A network: its name, how it is made and fitted, and what asks it.
Network = tuple[str, Callable[[], Any], Callable[[Any], Any]]


def of_pytorch(every: bool) -> Iterator[Network]:
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
        for number, given in enumerate(usable if every else usable[:1]):
            yield (
                f"{info.name} {number}",
                lambda cls=info.module_cls, given=given: fitted(cls, given),
                lambda module, given=given: answer(given, module),
            )


def _tensors(outputs: Any) -> list[Any]:
    if isinstance(outputs, (list, tuple)):
        return [tensor for part in outputs for tensor in _tensors(part)]
    return [outputs] if hasattr(outputs, "detach") and outputs.is_floating_point() else []


def of_keras(every: bool) -> Iterator[Network]:
    """Every layer that Keras exports, with the arguments that it asks for, on the rows that fit it."""
    import keras

    for name in sorted(vars(keras.layers)):
        cls = getattr(keras.layers, name)
        if isinstance(cls, type) and issubclass(cls, keras.layers.Layer):
            yield name, lambda cls=cls: brought.around(cls), brought.ask


def seed(number: int) -> None:
    FRAMEWORK.set_seed(number)
    np.random.seed(number)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("shard", type=int)
    parser.add_argument("shards", type=int)
    parser.add_argument("--every", action="store_true", help="PyTorch's modules with all inputs of its tests")
    parser.add_argument("--store", type=Path, help="also write each down, in this folder")
    parser.add_argument("--load", type=Path, help="take what was written down in this folder, and ask it")
    arguments = parser.parse_args()
    is_torch = FRAMEWORK.loader == "mlflow.pytorch"
    alone = of_pytorch(arguments.every) if is_torch else of_keras(arguments.every)
    found: dict[str, Any] = {}
    for position, (name, make, ask) in enumerate([*brought.networks(), *alone]):
        if position % arguments.shards != arguments.shard:
            continue
        folder = (arguments.store or arguments.load or Path()) / name.replace(" ", "_").replace("/", "_")
        if arguments.load:
            if folder.is_dir():
                try:
                    found[name] = {"answer": Content(ask(FRAMEWORK.load(folder)), FRAMEWORK.unpack).digest}
                except Exception as error:
                    found[name] = {"left out": f"not loaded: {type(error).__name__}: {str(error)[:200]}"}
            continue
        print(name, file=sys.stderr) if os.environ.get("LOUD") else None
        seed(arguments.seed)
        try:
            network = make()
            before = Content(network, FRAMEWORK.unpack)
            answer = Content(ask(network), FRAMEWORK.unpack).digest
        except Exception as error:
            found[name] = {"left out": f"not made: {type(error).__name__}: {str(error)[:200]}"}
            continue
        after = Content(network, FRAMEWORK.unpack)
        found[name] = {"content": before.digest, "after": after.digest, "named": before.tree.named(), "answer": answer}
        if arguments.store:
            folder.mkdir(parents=True)
            try:
                FRAMEWORK.save(network, folder)
            except Exception as error:
                found[name]["not stored"] = f"{type(error).__name__}: {str(error)[:200]}"
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
