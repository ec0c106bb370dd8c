"""The training that `just bench` compares with: what a person would write without the template, as fast as that is.

The same data, split, fit and metrics as a rendered classification project; with `--track` the same plots and MLflow
calls with the same arguments too. No seeds set before the start, no digests, no checks, no record.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score


def main(project: Path, track: bool) -> None:
    conf = yaml.safe_load((project / "confs" / "train.yaml").read_text())
    file = project / yaml.safe_load((project / "data" / "datasets.yaml").read_text())[conf["dataset"]]["path"]
    table = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
    X = table.drop(columns=conf["target"]).astype("float64")
    y = table[conf["target"]]
    rng = np.random.default_rng(conf["seed"])
    rows = rng.permutation(len(table))
    held_out = round(len(table) * conf["test_fraction"])
    test, train = np.sort(rows[:held_out]), np.sort(rows[held_out:])

    forest = RandomForestClassifier(**conf["model"], n_jobs=conf["threads"], random_state=conf["seed"])
    forest.fit(X.iloc[train], y.iloc[train])
    predictions = forest.predict(X.iloc[test])
    scores = forest.predict_proba(X.iloc[test])[:, 1]
    positive = forest.classes_[1]
    truth = y.iloc[test] == positive
    metrics = {
        "accuracy": float(accuracy_score(y.iloc[test], predictions)),
        "f1": float(f1_score(y.iloc[test], predictions, pos_label=positive)),
        "roc_auc": float(roc_auc_score(truth, scores)),
        "log_loss": float(log_loss(truth, scores)),
    }
    if track:
        log(project, file, conf, table, X.iloc[test], y.iloc[test], truth, predictions, scores, forest, metrics)
    print(metrics)


def log(project, file, conf, table, X, y, truth, predictions, scores, forest, metrics) -> None:  # type: ignore[no-untyped-def]
    import mlflow.sklearn
    from matplotlib.figure import Figure
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.models import infer_signature
    from mlflow.types import ColSpec, Schema
    from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay

    mlflow.set_tracking_uri("sqlite:///bare.db")
    mlflow.set_experiment("bare")
    with mlflow.start_run():
        flat = {f"model.{key}": value for key, value in conf.pop("model").items()}
        mlflow.log_params({f"conf.{key}": value for key, value in (conf | flat).items()})
        mlflow.log_metrics(metrics)

        confusion = Figure(figsize=(5, 4), layout="constrained")
        axes = confusion.subplots()
        ConfusionMatrixDisplay.from_predictions(y, predictions, ax=axes, cmap="Blues", colorbar=False)
        axes.set_title("Confusion matrix, held-out rows")
        roc = Figure(figsize=(5, 4), layout="constrained")
        axes = roc.subplots()
        RocCurveDisplay.from_predictions(truth, scores, ax=axes, name="forest", plot_chance_level=True)
        axes.set_title("ROC, held-out rows")
        importance = Figure(figsize=(6, 4.5), layout="constrained")
        axes = importance.subplots()
        order = np.argsort(forest.feature_importances_, kind="stable")[-15:]
        axes.barh([X.columns[i] for i in order], forest.feature_importances_[order])
        axes.set_title("Feature importance")
        axes.set_xlabel("share of the reduced impurity")
        mlflow.log_figure(confusion, "plots/confusion_matrix.png")
        mlflow.log_figure(roc, "plots/roc.png")
        mlflow.log_figure(importance, "plots/feature_importance.png")

        origin = json.dumps({"uri": file.as_uri()})
        columns = [
            ColSpec("double" if pd.api.types.is_float_dtype(kind) else "string", str(name))
            for name, kind in table.dtypes.items()
        ]
        entry = MetaDataset(
            get_dataset_source_from_json(origin, "local"), name=conf["dataset"], digest="1", schema=Schema(columns)
        )
        mlflow.log_input(entry, context="training")
        mlflow.sklearn.log_model(
            forest,
            name="model",
            signature=infer_signature(X.head(100), predictions[:100]),
            input_example=X.head(5),
            pip_requirements=str(project / "constraints.txt"),
            serialization_format="skops",
            skops_trusted_types=["sklearn.tree._tree.Tree"],
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), "--track" in sys.argv)
