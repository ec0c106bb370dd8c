"""One training, top to bottom."""

from sklearn.metrics import accuracy_score, f1_score, log_loss

from . import curves, fit, images, model, plots
from .reproducibility import Result, Run
from .settings import Settings

#: So many of the held-out images are asked about once more when two runs are compared.
ASKED = 100


def train(settings: Settings, run: Run) -> Result:
    """Train and evaluate a classifier of images; stop when the validation images are predicted no better any more.

    Parameters
    ----------
    settings : Settings
        The conf of this run.
    run : Run
        Gives data and random numbers; ordinary MLflow calls work here too.

    Returns
    -------
    Result
        What is logged, and what "the same result" is judged by. The predictions are the label of each held-out image,
        and the probability of each class.
    """
    table = images.find(run.path(settings.dataset))
    images.require(table["file"][run.rank :: run.processes])  # each process its part, before any of them learns
    learned, held_out = images.split(table, settings.test_fraction, run.rng("split"))
    run.stage("split", [learned.index, held_out.index])
    learned, watched = images.split(learned, settings.validation_fraction, run.rng("validation"))
    run.stage("validation", [learned.index, watched.index])

    fitted, history, best = fit.fit(learned, watched, settings, run)
    curves.log(history)

    classes = table["label"].cat.categories
    probabilities = model.predict(fitted, held_out["file"], settings.model.workers)
    answers = images.answers(probabilities, classes)
    truth = held_out["label"].astype(str)
    metrics = {
        "accuracy": accuracy_score(truth, answers["prediction"]),
        "f1": f1_score(truth, answers["prediction"], average="macro"),
        "log_loss": log_loss(truth, probabilities, labels=classes),
    }
    figures = {
        "confusion_matrix": lambda: plots.confusion_matrix(truth, answers["prediction"]),
        "mistakes": lambda: plots.mistakes(held_out, answers),
        "curves": lambda: curves.draw(history, best, step=fit.STEP),
    }
    asked = held_out[["file"]].head(ASKED)
    return Result(fitted, asked, answers, metrics, figures, adapter=model.Adapter())
