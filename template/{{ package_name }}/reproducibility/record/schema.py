"""What a record holds: its files, their digests and what they say."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import digest
from ..common.project import MAIN

if TYPE_CHECKING:
    import pandas as pd

#: From 3 on a record holds the digests of its own files and of the model's, and the tag repro.record its own.
SCHEMA_VERSION = 3
#: The stages that make the result.
RESULT = ("weights", "predictions", "metrics")
#: The files of a record: the one that speaks of all others, and those of the same name everywhere.
RECORD, CONF, LOCK, PATCH = "record.json", "conf.yaml", "constraints.txt", "uncommitted.patch"
PARTS, PREDICTIONS = "model.json", "predictions.parquet"
#: Set for a replay, which has a store of its own: from where it could be executed again is not asked.
REPLAY = "REPRO_REPLAY"
#: What file managers, and MLflow in a model's, leave in every folder that somebody looks at.
DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini", "registered_model_meta"}


@dataclass(frozen=True)
class Record:
    """What a run left behind.

    Parameters
    ----------
    name : str
        The run's ID, or what stands for it in messages.
    folder : Path
        The artifact folder `record/`, on this machine.
    content : dict
        record.json, in today's schema.
    conf : dict
        The resolved settings.
    stages : dict of str to str
        The digest of every stage, in the order in which the run made them.
    metrics : dict of str to float
        The metrics, exactly.
    run : mlflow.entities.Run, optional
        The run, of which names and tags are asked; None of a replay that is in no store yet.
    """

    name: str
    folder: Path
    content: dict[str, Any]
    conf: dict[str, Any]
    stages: dict[str, str]
    metrics: dict[str, float]
    run: Any = None

    @property
    def step(self) -> str:
        """The step of the project that the run did; before there were several, the training."""
        return str(self.content.get("step", MAIN))

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """The digest of every file, by its path in the folder."""
        return {**files(self.folder), RECORD: digest.of_file(self.folder / RECORD)}

    @functools.cached_property
    def predictions(self) -> pd.DataFrame | None:
        """The predictions; None for a record of before they were kept."""
        import pandas as pd

        file = self.folder / PREDICTIONS
        return pd.read_parquet(file) if file.exists() else None

    def parts(self) -> dict[str, str]:
        """Read the digests of the parts of the model, by path; empty for a record of before they were kept."""
        file = self.folder / PARTS
        return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}


def digest_of_result(stages: dict[str, str], outputs: Iterable[str] = ()) -> str:
    """Put the digests of weights, predictions, metrics and outputs together."""
    names = (*RESULT, *(f"output {name}" for name in outputs))
    return digest.of_value({stage: stages[stage] for stage in names if stage in stages})


def files(folder: Path) -> dict[str, str]:
    """Give the digest of every file of a record or a model but record.json, by its path in the folder."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in DROPPINGS]
    return {path.relative_to(folder).as_posix(): digest.of_file(path) for path in found if path != folder / RECORD}


def as_table(predictions: Any) -> Any:
    """Give predictions as a table, a row each: as they are, or with columns `prediction`, `prediction 1` and so on."""
    import numpy as np
    import pandas as pd

    if isinstance(predictions, pd.DataFrame) and "prediction" in predictions:
        return predictions
    if hasattr(predictions, "toarray"):
        predictions = predictions.toarray()
    array = np.asarray(predictions)
    columns = array.reshape(len(array), -1)
    return pd.DataFrame({f"prediction {i}" if i else "prediction": column for i, column in enumerate(columns.T)})
