"""From the folder to what the model learns from: files, classes, split."""

from collections.abc import Iterable
from multiprocessing.pool import ThreadPool
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
        If there are fewer than two classes, or one has no image.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/**/*") if path.is_file())
    labels = [name.partition("/")[0] for name in names]
    if len({*labels}) < 2:
        raise ProjectError(f"{folder} has no folders of images, one for each class.", "Sort the images into folders.")
    if empty := sorted({path.name for path in folder.iterdir() if path.is_dir()} - {*labels}):
        raise ProjectError(f"{folder / empty[0]} has no image.", "Put images into the folder, or take it out.")
    files = [str(folder / name) for name in names]
    return pd.DataFrame({"file": files, "label": pd.Categorical(labels)}, index=names)


def require(files: Iterable[str]) -> None:
    """Read every file, and refuse what is no image, or a broken one, before anything is computed from the others."""
    names = list(files)
    with ThreadPool() as pool:  # gives each thread many at a time: to hand over a small one takes as long as to read it
        flaws = {name: flaw for name, flaw in zip(names, pool.map(_flaw, names), strict=True) if flaw}
    for name, flaw in flaws.items():
        more = f" Nor are {len(flaws) - 1:,} more." if len(flaws) > 1 else ""
        raise ProjectError(
            f"{name} is no image that can be read: {flaw}.{more}",
            f"Take it out, or convert it ({', '.join(FORMATS)}); of a dataset, then `just data-add` it again.",
        )


def _flaw(file: str) -> str:
    """Tell why an image cannot be read; nothing where it can."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.format == "BMP" and image.mode in ("1", "P"):
                return "a BMP with a palette, which some libraries take for shades of grey"
            image.load()
    except Exception as error:  # a broken file raises whatever its decoder stumbles over
        return str(error) or type(error).__name__
    return ""


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

    Raises
    ------
    ProjectError
        If no image is held out, or all of a class are.
    """
    is_held_out = np.zeros(len(table), bool)
    for label in table["label"].cat.categories:
        rows = rng.permutation(np.flatnonzero(table["label"] == label))
        is_held_out[rows[: round(len(rows) * fraction)]] = True
    learned, held_out = table[~is_held_out], table[is_held_out]
    if held_out.empty:
        raise ProjectError(f"No class has enough images to hold out {fraction:g} of them.", "Add images to them.")
    if missing := sorted({*table["label"]} - {*learned["label"]}):
        raise ProjectError(f"All images of class {missing[0]!r} are held out.", "Add images to it, or hold out less.")
    return learned, held_out


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
