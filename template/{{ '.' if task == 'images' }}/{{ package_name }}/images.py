"""From the folder to what the model learns from: files, classes, split."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .reproducibility import ProjectError

#: What is read.
FORMATS = ("BMP", "GIF", "JPEG", "PNG")


def find(folder: Path) -> pd.DataFrame:
    """List the images of a folder that has a folder for each class.

    Parameters
    ----------
    folder : Path
        What lies beside the folders of the classes is no image.

    Returns
    -------
    pandas.DataFrame, shape (images, 2)
        `file`, where an image lies, and `label`, its class; by their paths in the folder.

    Raises
    ------
    ProjectError
        If there are fewer than two classes, or a file is no image.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/**/*") if path.is_file())
    labels = [name.partition("/")[0] for name in names]
    if len({*labels}) < 2:
        raise ProjectError(f"{folder} has no folders of images, one for each class.", "Sort the images into folders.")
    files = [str(folder / name) for name in names]
    require(files)
    return pd.DataFrame({"file": files, "label": pd.Categorical(labels)}, index=names)


def require(files: Iterable[str]) -> None:
    """Look at the beginning of each file, and refuse what is no image."""
    for file in files:
        try:
            Image.open(file, formats=FORMATS).close()
        except OSError as error:
            raise ProjectError(
                f"{file} is no image that can be read: {error}.",
                f"Take it out, or convert it ({', '.join(FORMATS)}); of a dataset, then `just data-add` it again.",
            ) from error


def split(table: pd.DataFrame, fraction: float, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold images out, of each class the same share.

    Parameters
    ----------
    table : pandas.DataFrame, shape (images, 2)
        What `find` gave, or a part of it.
    fraction : float
        How many.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    tuple of pandas.DataFrame
        The images to learn from, and those held out.
    """
    is_held_out = np.zeros(len(table), bool)
    for label in table["label"].cat.categories:
        rows = rng.permutation(np.flatnonzero(table["label"] == label))
        is_held_out[rows[: round(len(rows) * fraction)]] = True
    return table[~is_held_out], table[is_held_out]


def answers(probabilities: np.ndarray, classes: Iterable[str]) -> pd.DataFrame:
    """Tell the most probable class of each image.

    Parameters
    ----------
    probabilities : numpy.ndarray of float, shape (images, classes)
        What the model predicts.
    classes : iterable of str
        Their names.

    Returns
    -------
    pandas.DataFrame, shape (images, 1 + classes)
        `prediction`, and `probability NAME` of each class.
    """
    names = list(classes)
    table = pd.DataFrame(probabilities, columns=[f"probability {name}" for name in names])
    table.insert(0, "prediction", [names[number] for number in probabilities.argmax(axis=1)])
    return table
