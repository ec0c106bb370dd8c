"""A run of MLflow's that nobody keeps: for the processes of a training that do not track it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

#: What a store of files writes as files of the names that it is given, which may not be names of files.
WRITING = ("log_batch", "log_metric", "log_param", "set_tag")


@contextmanager
def run(folder: Path) -> Iterator[None]:
    """Let every call of MLflow's succeed and do nothing that lasts: what is logged as files goes to a folder."""
    os.environ |= {"MLFLOW_TRACKING_URI": folder.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):  # of the store that is kept
        os.environ.pop(name, None)
    import mlflow
    from mlflow.store.tracking.file_store import FileStore

    with ExitStack() as stack:
        for name in WRITING:
            stack.enter_context(patch.object(FileStore, name, lambda *_, **__: None))
        stack.enter_context(mlflow.start_run())
        yield
