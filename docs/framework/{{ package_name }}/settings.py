"""The conf file as typed settings: what each key means and which values it may have."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of the conf in which a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(Section):
    """Hyperparameters of the descent."""

    loss: Literal["logistic", "squared"] = Field(description="What is minimized: logistic for classes, or squared.")
    rounds: int = Field(ge=1, description="Rounds, at most.")
    early_stopping_rounds: int = Field(ge=1, description="Rounds without a better validation loss before it stops.")
    checkpoint_rounds: int = Field(ge=1, description="Rounds from one checkpoint to the next.")
    learning_rate: float = Field(gt=0, le=1, description="How much of each gradient is taken.")


class Settings(Section):
    """Everything that a run depends on, besides code, data and environment."""

    seed: int = Field(ge=0, le=2**32 - 1, description="The seed of every generator; 0 is a seed.")
    threads: int = Field(ge=1, description="Threads of the numeric libraries and of the fit.")
    dataset: str = Field(description="An entry of data/datasets.yaml.")
    target: str = Field(description="The column to predict.")
    drop: list[str] = Field(description="Columns never to learn from: identifiers and leaks.")
    split: Literal["random", "stratified", "group", "time"] = Field(description="How rows are held out.")
    split_column: str | None = Field(description="The column of the groups, or of the times.")
    test_fraction: float = Field(gt=0, lt=1, description="Fraction of the rows held out.")
    folds: int = Field(ge=1, description="Parts that are held out in turn; 1 is no cross-validation.")
    fold: int | None = Field(None, ge=1, description="Only this one of them, from 1; all by default.")
    validation_fraction: float = Field(gt=0, lt=1, description="Fraction of the others that decides when to stop.")
    model: ModelSettings
