"""The conf file as typed settings: what each key means and which values it may have."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of the conf in which a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageSettings(Section):
    """How images come to the network, and at random otherwise in each epoch while it learns."""

    size: int = Field(ge=1, description="Pixels: every image is brought to this height and width.")
    channels: Literal[1, 3] = Field(description="1 is grey, 3 is red, green and blue.")
    rotation: float = Field(ge=0, le=180, description="Degrees by which an image is turned, at most.")
    shift: float = Field(ge=0, lt=1, description="Fraction of the size by which it is moved, at most.")
    mirror: bool = Field(description="Whether left and right are changed in one image of two.")


class ModelSettings(Section):
    """Hyperparameters of the network and of its training."""

    filters: list[int] = Field(min_length=1, description="Of each convolution; each halves height and width.")
    dropout: float = Field(ge=0, lt=1, description="Fraction of the features left out of each step.")
    epochs: int = Field(ge=1, description="Passes over the images, at most.")
    early_stopping_epochs: int = Field(ge=1, description="Epochs without a better validation loss before it stops.")
    checkpoint_epochs: int = Field(ge=1, description="Epochs from one checkpoint to the next.")
    batch_size: int = Field(ge=1, description="Images of one step, of all processes together.")
    learning_rate: float = Field(gt=0, description="Size of the first steps; falls to zero along a cosine.")
    weight_decay: float = Field(ge=0, description="How fast weights that are not needed shrink.")
    workers: int = Field(ge=0, description="Processes that prepare batches; 0 does it in the training's own.")


class Settings(Section):
    """Everything that a run depends on, besides code, data and environment."""

    seed: int = Field(ge=0, le=2**32 - 1, description="The seed of every generator; 0 is a seed.")
    threads: int = Field(ge=1, description="Threads of the numeric libraries and of the fit.")
    processes: int = Field(ge=1, description="How many train together, each on its part of every batch.")
    nondeterminism: Literal["error", "warn"] = Field(description="What an operation without a deterministic form does.")
    dataset: str = Field(description="An entry of data/datasets.yaml: a folder of images, with a folder a class.")
    test_fraction: float = Field(gt=0, lt=1, description="Fraction of each class held out, as images.py draws it.")
    validation_fraction: float = Field(gt=0, lt=1, description="Fraction of the others that decides when to stop.")
    images: ImageSettings
    model: ModelSettings
