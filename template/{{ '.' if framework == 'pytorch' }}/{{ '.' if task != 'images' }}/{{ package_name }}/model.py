"""The model: a network for tables. It takes rows as they are in the table, and standardizes them itself."""

from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import nn

from .settings import ModelSettings


class Network(nn.Module):  # type: ignore[misc]
    """Hidden layers between standardized columns and one output.

    Parameters
    ----------
    X : pandas.DataFrame, shape (rows, features)
        The rows to learn from; mean and spread of their columns become part of the network.
    y : pandas.Series, shape (rows,)
        Their target: bool for the logistic loss, numbers for the squared one.
    settings : ModelSettings
        `loss`, `hidden` and `dropout` are used. The weights are drawn from PyTorch's global generator.
    """

    def __init__(self, X: pd.DataFrame, y: pd.Series, settings: ModelSettings) -> None:
        super().__init__()
        self.is_classifier = settings.loss == "logistic"
        center, scale = (0.0, 1.0) if self.is_classifier else (y.mean(), y.std())
        for name, value in {
            "column_mean": X.mean().to_numpy(),
            "column_std": X.std().replace(0.0, 1.0).to_numpy(),
            "center": center,
            "scale": scale or 1.0,
        }.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        hidden: list[nn.Module] = []
        for inputs, outputs in pairwise([X.shape[1], *settings.hidden]):
            hidden += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(settings.dropout)]
        self.layers = nn.Sequential(*hidden, nn.Linear([X.shape[1], *settings.hidden][-1], 1))

    def outputs(self, rows: torch.Tensor) -> torch.Tensor:
        """Give what the loss is computed from: log odds, or the standardized target.

        Parameters
        ----------
        rows : torch.Tensor of float64, shape (rows, features)
            A missing value counts as its column's mean.

        Returns
        -------
        torch.Tensor of float32, shape (rows,)
        """
        standardized = torch.nan_to_num((rows - self.column_mean) / self.column_std)
        return self.layers(standardized.float()).squeeze(-1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Predict probabilities, or values of the target.

        Parameters
        ----------
        rows : torch.Tensor of float64, shape (rows, features)

        Returns
        -------
        torch.Tensor of float64, shape (rows,)
        """
        outputs = self.outputs(rows).double()
        return torch.sigmoid(outputs) if self.is_classifier else outputs * self.scale + self.center

    def losses(self, rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare outputs with the target: logistic or squared loss of each row; shape (rows,)."""
        outputs = self.outputs(rows)
        wanted = ((target - self.center) / self.scale).float()
        if self.is_classifier:
            return nn.functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
        return nn.functional.mse_loss(outputs, wanted, reduction="none")


def predict(network: Network, X: pd.DataFrame) -> np.ndarray:
    """Predict for rows of a table.

    Parameters
    ----------
    network : Network
        The trained network.
    X : pandas.DataFrame, shape (rows, features)

    Returns
    -------
    numpy.ndarray of float64, shape (rows,)
        Probabilities of the positive class, or values of the target.
    """
    network.eval()
    with torch.no_grad():
        predictions: np.ndarray = network(torch.from_numpy(X.to_numpy("float64", copy=True))).numpy()
    return predictions
