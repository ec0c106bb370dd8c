"""Find runs in the tracking store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: So many runs are asked for at once.
PAGE = 100


def newest_first(experiment: str, condition: str) -> Iterator[Any]:
    """Give the runs of an experiment that fulfil a condition, page by page as they are asked for.

    Parameters
    ----------
    experiment : str
        Its ID.
    condition : str
        As MLflow's `search_runs` takes it.

    Yields
    ------
    mlflow.entities.Run
    """
    import mlflow

    client, token = mlflow.MlflowClient(), None
    order = ["attributes.start_time DESC"]
    while True:
        page = client.search_runs([experiment], condition, max_results=PAGE, order_by=order, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
