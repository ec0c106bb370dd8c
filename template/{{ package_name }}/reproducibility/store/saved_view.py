"""The view `Proofs` of MLflow's UI: the list of runs with verdict, result and commit first.

MLflow offers no columns of a project's own, but keeps views that people save as tags of the experiment: this is one, as
the UI writes it, under Views. A person may change it or delete it. Older UIs take no notice of it.
"""

from __future__ import annotations

import base64
import json
import time
import zlib

TAG = "mlflow.sharedViewState.reproducibility"
COLUMNS = [f"tags.`repro.{name}`" for name in ("verdict", "result", "commit", "dirty")]


def tags() -> dict[str, str]:
    """Give the tag of an experiment that holds the view."""
    state = {"selectedColumns": [*COLUMNS, "attributes.`Models`"], "columnOrder": COLUMNS}
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    return {TAG: json.dumps({"name": "Proofs", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"})}


def offer(experiment_id: str) -> None:
    """Give the view to an experiment that was made before there was one."""
    import mlflow

    client = mlflow.MlflowClient()
    if TAG not in client.get_experiment(experiment_id).tags:
        client.set_experiment_tag(experiment_id, TAG, tags()[TAG])
