"""The model: a small convolutional network. It takes pixels from 0 to 255, and brings them to its own scale itself."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from . import batches, images
from .reproducibility import ModelAdapter
from .settings import ImageSettings

#: Images that are predicted at once.
BATCH = 256


class Network(nn.Module):  # type: ignore[misc]
    """Convolutions, each of an image half as large as the one before; and an output a class.

    Parameters
    ----------
    classes : iterable of str
        Their names.
    pictures : ImageSettings
        How images come to it.
    filters : sequence of int
        Of each convolution. The weights are drawn from PyTorch's global generator.
    dropout : float, default 0
        Fraction of the features left out of each step.
    """

    def __init__(
        self, classes: Iterable[str], pictures: ImageSettings, filters: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.classes = list(classes)
        self.pictures = pictures
        self.filters = list(filters)
        size = pictures.size
        blocks: list[nn.Module] = []
        for inputs, outputs in pairwise([pictures.channels, *filters]):
            blocks += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs), nn.ReLU()]
            blocks += [nn.MaxPool2d(2, ceil_mode=True)]
            size = -(-size // 2)
        head = nn.Linear(filters[-1] * size * size, len(self.classes))
        self.layers = nn.Sequential(*blocks, nn.Flatten(), nn.Dropout(dropout), head)

    def outputs(self, pixels: torch.Tensor) -> torch.Tensor:
        """Give what the loss is computed from: a number for each class; shape (images, classes).

        Parameters
        ----------
        pixels : torch.Tensor of uint8, shape (images, channels, height, width)
        """
        return self.layers(pixels / 127.5 - 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Predict the probability of each class; shape (images, classes)."""
        return self.outputs(pixels).double().softmax(1)

    def losses(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compare outputs with the number of the true class: cross entropy of each image; shape (images,)."""
        return nn.functional.cross_entropy(self.outputs(pixels), labels, reduction="none")


def predict(network: Network, files: Iterable[str], workers: int = 0) -> np.ndarray:
    """Predict for images.

    Parameters
    ----------
    network : Network
        The trained network, on the CPU.
    files : iterable of str
        Where they lie.
    workers : int, default 0
        Processes that prepare batches.

    Returns
    -------
    numpy.ndarray of float64, shape (images, classes)
        Probabilities.
    """
    network.eval()
    pictures = batches.Images(files, network.pictures)
    loader = batches.loader(pictures, batches.in_sequence(range(len(pictures.files)), BATCH), workers)
    with torch.no_grad():
        return np.concatenate([network(pixels).numpy() for pixels, _ in loader])


class Adapter(ModelAdapter):
    """How the harness uses a network: it predicts for a table of files, and is kept as numbers."""

    def predict(self, model: Network, rows: pd.DataFrame) -> pd.DataFrame:
        """Give label and probabilities of the images in the column `file`."""
        images.require(rows["file"])
        return images.answers(predict(model, rows["file"]), model.classes)

    def save(self, model: Network, folder: Path) -> None:
        """Write weights, and what else the network is made of."""
        save_file(model.state_dict(), folder / "weights.safetensors")
        parts = {"classes": model.classes, "pictures": model.pictures.model_dump(), "filters": model.filters}
        (folder / "network.json").write_text(json.dumps(parts), "utf-8")

    def load(self, folder: Path) -> Network:
        """Read what `save` wrote."""
        parts = json.loads((folder / "network.json").read_text("utf-8"))
        network = Network(parts["classes"], ImageSettings(**parts["pictures"]), parts["filters"])
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        return network
