"""Find runs in the tracking store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

#: So many runs are asked for at once.
PAGE = 100


def newest_first(experiments: Sequence[str], condition: str) -> Iterator[Any]:
    """Give the runs of some experiments that fulfil a condition, page by page as they are asked for.

    Who changes them so that they fulfil it no more has all of them listed first: the pages after would shift.

    Parameters
    ----------
    experiments : sequence of str
        Their IDs.
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
        page = client.search_runs([*experiments], condition, max_results=PAGE, order_by=order, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
