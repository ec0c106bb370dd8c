"""The pictures of a run. Figures are made without pyplot, which would need a screen and keep them all."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import ConfusionMatrixDisplay


def confusion_matrix(truth: pd.Series, predictions: pd.Series) -> Figure:
    """Count predicted against true classes.

    Parameters
    ----------
    truth, predictions : pandas.Series of labels, shape (images,)

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        truth, predictions, ax=axes, cmap="Blues", colorbar=False, xticks_rotation="vertical"
    )
    axes.set_title("Confusion matrix, held-out images")
    return figure


def mistakes(images: pd.DataFrame, answers: pd.DataFrame, top: int = 20) -> Figure:
    """Show the images about which the model was wrong and most sure: mislabelled ones are among the first.

    Parameters
    ----------
    images : pandas.DataFrame, shape (images, 2)
        Columns `file` and `label`.
    answers : pandas.DataFrame, shape (images, 1 + classes)
        `prediction`, and the probability of each class.
    top : int
        How many are shown.

    Returns
    -------
    matplotlib.figure.Figure
    """
    sureness = answers.drop(columns="prediction").max(axis=1).to_numpy()
    wrong = np.flatnonzero(answers["prediction"].to_numpy() != images["label"].to_numpy(object))
    shown = wrong[np.argsort(-sureness[wrong], kind="stable")][:top]
    lines = max(1, -(-len(shown) // 5))
    figure = Figure(figsize=(8, 0.5 + 1.8 * lines), layout="constrained")
    figure.suptitle(f"The most confident of {len(wrong):,} mistakes, of {len(images):,} held-out images")
    for axes, row in zip(figure.subplots(lines, 5).flat, shown, strict=False):
        with Image.open(images["file"].iloc[row]) as image:
            axes.imshow(image, cmap="gray")
        told = f"{images['label'].iloc[row]}, not {answers['prediction'].iloc[row]} ({sureness[row]:.0%})"
        axes.set_title(told, fontsize="small", parse_math=False)
    for axes in figure.axes:
        axes.axis("off")
    return figure
