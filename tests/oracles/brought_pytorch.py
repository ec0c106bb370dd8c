"""Networks of PyTorch as people bring them; the oracle makes this a module of the project."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations

ROWS = torch.linspace(-1, 1, 40).reshape(10, 4)


class Plain(nn.Module):
    """Two layers, a buffer that is not stored, a parameter that is not trained, and numbers of its own."""

    def __init__(self, threshold: float = 0.1) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 1)
        self.register_buffer("scale", torch.rand(8), persistent=False)
        self.frozen = nn.Parameter(torch.rand(8), requires_grad=False)
        self.threshold = threshold
        self.activation = torch.relu
        self.options = {"names": ["a", "b"], 3: (1.5, None)}

    def forward(self, rows: Any) -> Any:
        hidden = self.activation(self.first(rows)) * self.scale + self.frozen
        return torch.where(self.second(hidden) > self.threshold, self.second(hidden), 0.0)


class Undecided(Plain):
    """A branch that depends on the data, which export cannot take."""

    def forward(self, rows: Any) -> Any:
        return super().forward(rows) if rows.sum() > 0 else super().forward(-rows)


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.out.weight = self.into.weight

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.into(rows)))


class Named(nn.Module):
    """Takes a mapping of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"a": nn.Linear(4, 1), "b": nn.Linear(4, 1)})

    def forward(self, columns: Any) -> Any:
        return {name: layer(columns[name]) for name, layer in self.layers.items()}


class Still(nn.Module):
    """No parameters at all."""

    def forward(self, rows: Any) -> Any:
        return rows.sum(1) * 2


class Learner(Plain):
    """Holds what trains it."""

    def __init__(self) -> None:
        super().__init__()
        self.optimizer = torch.optim.Adam(self.parameters())
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2)


class Unlisted(nn.Module):
    """Modules in a plain list, a function bound to arguments, a class, a generator and a spectrum of values."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [nn.Linear(4, 2), nn.Linear(2, 1)]
        self.activation = functools.partial(nn.functional.leaky_relu, negative_slope=0.2)
        self.values = [np.float32(1.5), np.arange(3), torch.float16, torch.Size([2]), {1, 2}, b"bytes", int]
        self.columns = np.array(["a", None], dtype=object)

    def forward(self, rows: Any) -> Any:
        return self.parts[1](self.activation(self.parts[0](rows)))


@dataclass
class Conf:
    """Settings that a network keeps."""

    units: int = 3
    rate: float = 0.5


class Kept(nn.Module):
    """Keeps its settings, and itself as a part of a part."""

    def __init__(self) -> None:
        super().__init__()
        self.conf = Conf()
        self.layer = nn.Linear(4, self.conf.units)
        self.registry = {"root": [self]}

    def forward(self, rows: Any) -> Any:
        return self.layer(rows) * self.conf.rate


class Wrapper:
    """A class of one's own around a network and a scaler of scikit-learn."""

    def __init__(self) -> None:
        from sklearn.preprocessing import StandardScaler

        self.scaler = StandardScaler().fit(ROWS.numpy())
        self.network = trained(Plain)

    def predict(self, rows: Any) -> Any:
        scaled = torch.from_numpy(self.scaler.transform(rows)).float()
        with torch.no_grad():
            return self.network(scaled).numpy()


def doubled(module: Any, arguments: Any, output: Any) -> Any:
    """A hook that changes what a module answers."""
    return output * 2


def trained(make: Callable[[], nn.Module], rows: Any = ROWS) -> nn.Module:
    """Make a network, and go three steps."""
    network = make()
    parameters = [part for part in network.parameters() if part.requires_grad]
    if parameters:
        optimizer = torch.optim.Adam(parameters, 0.01)
        for _ in range(3):
            outputs = network(rows)
            total = sum(part.sum() for part in outputs.values()) if isinstance(outputs, dict) else outputs.sum()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    return network.eval()


def ask(network: Any) -> Any:
    with torch.no_grad():
        return network(ROWS)


def ask_all(networks: Any) -> Any:
    return [ask(network) for network in (networks.values() if isinstance(networks, dict) else networks)]


def networks() -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], Any]]]:
    """Give name, maker and question of each."""
    for kind in (Plain, Undecided, Tied, Still, Learner, Unlisted, Kept):
        yield kind.__name__, functools.partial(trained, kind), ask
    columns = {"a": ROWS, "b": -ROWS}
    yield "Named", lambda: trained(Named, columns), lambda network: [*network(columns).values()]
    yield "Wrapper", Wrapper, lambda wrapper: wrapper.predict(ROWS.numpy())
    yield "Sequential", lambda: trained(lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))), ask
    yield "list of networks", lambda: [trained(Plain), trained(Tied)], ask_all
    yield "tuple of networks", lambda: (trained(Plain), trained(Tied)), ask_all
    yield "mapping of networks", lambda: {"one": trained(Plain), 2: trained(Tied)}, ask_all
    yield "lazy", lambda: trained(lambda: nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), nn.Linear(3, 1))), ask
    yield "compiled", lambda: torch.compile(trained(Plain), backend="eager"), ask
    yield "compiled in place", _compiled, ask
    yield "bfloat16", lambda: trained(Tied).bfloat16(), lambda network: network(ROWS.bfloat16()).detach()
    yield "weight norm", lambda: trained(lambda: parametrizations.weight_norm(nn.Linear(4, 2))), ask
    yield "spectral norm", lambda: trained(lambda: parametrizations.spectral_norm(nn.Linear(4, 2))), ask
    yield "hook", _hooked, ask
    yield "quantized", _quantized, ask
    yield "scripted", lambda: torch.jit.script(trained(Tied)), ask
    yield "recurrent", lambda: trained(lambda: nn.Sequential(nn.LSTM(4, 3), _First(), nn.Linear(3, 1))), ask


class _First(nn.Module):
    def forward(self, outputs: Any) -> Any:
        return outputs[0]


def _compiled() -> nn.Module:
    network = trained(Plain)
    network.compile(backend="eager")
    return network


def _hooked() -> nn.Module:
    network = trained(Tied)
    network.into.register_forward_hook(doubled)
    return network


def _quantized() -> nn.Module:
    network = trained(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(network, {nn.Linear})


def kept() -> Iterator[tuple[str, Any, Any]]:
    """Give name, model and rows of those that a run keeps."""
    import pandas as pd

    table = pd.DataFrame(ROWS.numpy(), columns=["speed [m/s]", "pct, total", "a<b", "{x}"])
    for kind in (Plain, Undecided, Tied, Learner, Still):
        yield kind.__name__, trained(kind), table
    yield "weight norm", trained(lambda: parametrizations.weight_norm(nn.Linear(4, 1))), table
    yield "hook", _hooked(), table
    yield "compiled", torch.compile(trained(Plain), backend="eager"), table
    yield "list of networks", [trained(Plain), trained(Tied)], table
    yield "Wrapper", Wrapper(), ROWS.numpy()
    yield "scripted", torch.jit.script(trained(Tied)), table
