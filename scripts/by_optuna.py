"""A search as Optuna's documentation has it: threads of one process, and a run of MLflow for each trial.

`python by_optuna.py PROJECT TRIALS TREES`
"""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow
import optuna
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

project, trials, trees = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
mlflow.set_tracking_uri(f"sqlite:///{Path('mlflow.db').resolve()}")
experiment = mlflow.set_experiment("search").experiment_id
table = pd.read_csv(project / "data" / "breast_cancer.csv")
target = table.pop("diagnosis")
parts = train_test_split(table.select_dtypes("number"), target, test_size=0.25, random_state=0)
client = mlflow.MlflowClient()


def objective(trial: optuna.Trial) -> float:
    """Fit a forest, and say how many rows it gets right."""
    samples = trial.suggest_float("max_samples", 0.79, 0.81)
    forest = RandomForestClassifier(trees, max_depth=8, max_samples=samples, max_features=0.5, random_state=0)
    forest.fit(parts[0], parts[2])
    return float(forest.score(parts[1], parts[3]))


def keep(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Log what Optuna's callback for MLflow logs."""
    run = client.create_run(experiment, run_name=str(trial.number)).info.run_id
    for name, value in trial.params.items():
        client.log_param(run, name, value)
    client.log_metric(run, "value", trial.value or 0.0)
    client.set_terminated(run)


optuna.logging.set_verbosity(optuna.logging.ERROR)
optuna.create_study(direction="maximize").optimize(objective, trials, n_jobs=2, callbacks=[keep])
