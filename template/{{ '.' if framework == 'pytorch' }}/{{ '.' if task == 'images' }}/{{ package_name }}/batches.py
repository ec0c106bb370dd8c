"""From files to batches: images are read, brought to one size and, to learn from, changed at random, in any process."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from .reproducibility import Run
from .settings import ImageSettings

#: Epoch and number of an image.
Key = tuple[int, int]


class Images(Dataset[tuple[torch.Tensor, int]]):  # type: ignore[misc]
    """Pixels by epoch and number of the image: whatever process prepares them, they depend on these and the seed alone.

    Parameters
    ----------
    files : iterable of str
        Where the images lie.
    settings : ImageSettings
        How they are brought to the network.
    seed : int, optional
        Of the changes at random; without it there are none.
    """

    def __init__(self, files: Iterable[str], settings: ImageSettings, seed: int | None = None) -> None:
        self.files = list(files)
        self.settings = settings
        self.seed = seed

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
        """Give pixels from 0 to 255, shape (channels, size, size), and the number of the image."""
        epoch, number = key
        size = self.settings.size
        with Image.open(self.files[number]) as opened:
            image = Image.fromarray((np.array(opened) >> 8).astype("uint8")) if opened.mode == "I;16" else opened
            image = image.convert("L" if self.settings.channels == 1 else "RGB").resize((size, size))
        if self.seed is not None:
            image = _changed(image, self.settings, np.random.default_rng([self.seed, epoch, number]))
        return torch.from_numpy(np.array(image)).reshape(size, size, -1).permute(2, 0, 1), number


def _changed(image: Image.Image, settings: ImageSettings, rng: np.random.Generator) -> Image.Image:
    """Turn, move and mirror an image."""
    angle, across, down = rng.uniform(-1, 1, 3)
    shift = settings.shift * settings.size
    if rng.random() < 0.5 and settings.mirror:
        image = ImageOps.mirror(image)
    return image.rotate(angle * settings.rotation, Image.Resampling.BILINEAR, translate=(across * shift, down * shift))


class Order:
    """The batches of an epoch, in an order of its own.

    Parameters
    ----------
    count : int
        How many images there are.
    batch_size : int
        How many a batch has.
    run : Run
        Draws the order, the same in every process.
    """

    def __init__(self, count: int, batch_size: int, run: Run) -> None:
        self.count = count
        self.batch_size = batch_size
        self.run = run
        self.epoch = 0

    def __iter__(self) -> Iterator[list[Key]]:
        """Give the keys of each batch."""
        order = self.run.rng(f"order {self.epoch}").permutation(self.count).tolist()
        for size in self.sizes():
            yield [(self.epoch, number) for number in order[:size]]
            del order[:size]

    def __len__(self) -> int:
        return len(self.sizes())

    def sizes(self) -> list[int]:
        """Give the number of images of each batch: the last may have fewer."""
        return [min(self.batch_size, self.count - first) for first in range(0, self.count, self.batch_size)]


def in_sequence(numbers: Sequence[int], batch_size: int) -> list[list[Key]]:
    """Give the keys of batches of images that are not changed, in the order of their numbers."""
    firsts = range(0, len(numbers), batch_size)
    return [[(0, number) for number in numbers[first : first + batch_size]] for first in firsts]


def loader(images: Images, batches: Iterable[list[Key]], workers: int) -> DataLoader:
    """Prepare batches, one after the other; with workers as many processes at once, which stay for the next epoch."""
    # With a generator of its own, since a loader draws a number from the global one.
    generator = torch.Generator()
    return DataLoader(
        images, batch_sampler=batches, num_workers=workers, persistent_workers=workers > 0, generator=generator
    )
