"""The model: a network for tables, from standardized numbers to classes or a value."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from .settings import ModelSettings


class Network(nn.Module):  # type: ignore[misc]
    """Hidden layers between standardized numbers and one output, or one a class where there are more than two.

    Parameters
    ----------
    numbers : ndarray of float, shape (rows, features)
        The rows to learn from.
    target : ndarray, shape (rows,)
        Numbers of classes for the logistic loss, values for the squared one.
    classes : int
        How many there are; 0 where values are predicted.
    settings : ModelSettings
        `loss`, `hidden` and `dropout` are used. The weights are drawn from PyTorch's global generator.
    """

    def __init__(
        self, numbers: np.ndarray[Any, Any], target: np.ndarray[Any, Any], classes: int, settings: ModelSettings
    ) -> None:
        super().__init__()
        self.is_classifier, self.classes = settings.loss == "logistic", classes
        center, scale = (0.0, 1.0) if self.is_classifier else (target.mean(), target.std(ddof=1) or 1.0)
        self.register_buffer("center", torch.tensor(center, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        sizes = [numbers.shape[1], *settings.hidden]
        hidden: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            hidden += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(settings.dropout)]
        self.layers = nn.Sequential(*hidden, nn.Linear(sizes[-1], classes if classes > 2 else 1))

    def losses(self, numbers: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare outputs with the target: logistic or squared loss of each row; shape (rows,)."""
        outputs = self.layers(numbers)
        if self.is_classifier and self.classes > 2:
            return nn.functional.cross_entropy(outputs, target.long(), reduction="none")
        wanted = ((target - self.center) / self.scale).float()
        loss = nn.functional.binary_cross_entropy_with_logits if self.is_classifier else nn.functional.mse_loss
        return loss(outputs.squeeze(-1), wanted, reduction="none")

    def answering(self) -> nn.Sequential:
        """Give what is kept of it, on the CPU: layers of PyTorch's own, from numbers to probabilities or values."""
        if self.is_classifier:
            last: nn.Module = nn.Softmax(dim=-1) if self.classes > 2 else nn.Sigmoid()
        else:
            last = nn.Linear(1, 1)
            with torch.no_grad():
                last.weight.fill_(float(self.scale))
                last.bias.fill_(float(self.center))
        return nn.Sequential(*self.layers, last).cpu().eval()
