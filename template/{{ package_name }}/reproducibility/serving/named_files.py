"""What a model of files predicts for, such as one of images: it was trained on a table with the column `file` alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets import folders

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "file"


def are_inputs(metadata: Any) -> bool:
    """Tell by what MLflow keeps of a model whether it takes files."""
    return bool((metadata.metadata or {}).get("columns") == [COLUMN])


def listed(place: Path) -> pd.DataFrame:
    """List a folder, by paths in it; or one file."""
    import pandas as pd

    names = (path for path, file in folders.walk(place, folders.NO_DATA) if file) if place.is_dir() else [place.name]
    return pd.DataFrame({COLUMN: sorted(names)}, dtype="str")


def placed(inputs: pd.DataFrame, place: Path) -> pd.DataFrame:
    """Say where files lie that are named from a folder, or from that of the table or file."""
    folder = place if place.is_dir() else place.parent
    return inputs.map(lambda name: str(folder / name))
