"""Write a model down without pickle: its structure as JSON, arrays beside it, code by name only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .reader import Reader
from .trust import Vocabulary
from .writer import Writer

STRUCTURE, ARRAYS = "structure.json", "arrays.npz"


def save(model: Any, folder: Path, framework: Vocabulary) -> None:
    """Write a model into a folder.

    Parameters
    ----------
    model : Any
        Values, arrays, objects of the project's and the framework's classes, estimators of scikit-learn; and mappings
        and sequences of these, nested and shared as you like.
    folder : Path
        Where the files go.
    framework : Vocabulary
        The words that it has for its own.

    Raises
    ------
    NotImplementedError
        If it holds something else, which is named.
    """
    import numpy as np

    writer = Writer(framework)
    tree = writer.write(model)
    (folder / STRUCTURE).write_text(json.dumps(tree), "utf-8")
    np.savez(folder / ARRAYS, allow_pickle=False, **writer.arrays)


def load(folder: Path, framework: Vocabulary) -> Any:
    """Read what `save` wrote. No code runs but that of the classes that it names, which are known ones.

    Raises
    ------
    NotImplementedError
        If it names something else.
    """
    import numpy as np

    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        return Reader(framework, dict(arrays)).read(json.loads((folder / STRUCTURE).read_text("utf-8")))
