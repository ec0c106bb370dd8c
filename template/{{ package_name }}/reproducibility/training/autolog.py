"""MLflow's autologging in a training: it leaves out what the harness logs."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from ..environment import lockfile
from ..framework import FRAMEWORK

#: What `autolog` does by default in a training: no models and datasets, which the harness logs, and no importances.
DEFAULTS: dict[str, Any] = {"log_models": False, "log_datasets": False, "importance_types": []}
#: Modules of MLflow besides the framework's own whose `autolog` a training may call.
ALSO = {"mlflow.keras": "mlflow.tensorflow"}


@contextmanager
def beside() -> Iterator[None]:
    """Let what is autologged while a training runs leave out what the harness logs, and what the lock says.

    Notes
    -----
    By itself `autolog` logs a model for every call of a fit, ten in a training with checkpoints, starts a process for
    each to find out what it requires, and draws what XGBoost's looks at. Here its defaults are `DEFAULTS`; who asks for
    these gets them. What a model requires is what is locked. Of a parameter that two fits of one run are given
    differently, the first value is kept.
    """
    import mlflow

    modules = {"mlflow", "mlflow.sklearn", FRAMEWORK.loader, ALSO.get(FRAMEWORK.loader, FRAMEWORK.loader)} - {""}
    logger = logging.getLogger("mlflow.utils.autologging_utils")
    with ExitStack() as stack:
        for name in sorted(modules):
            module = importlib.import_module(name)
            if hasattr(module, "autolog"):
                stack.enter_context(patch.object(module, "autolog", _by_default(module.autolog)))
        stack.enter_context(patch.object(mlflow.models, "infer_pip_requirements", _locked))
        logger.addFilter(_is_news)
        stack.callback(logger.removeFilter, _is_news)
        yield


def _by_default(autolog: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(autolog)

    @functools.wraps(autolog)
    def quietly(*arguments: Any, **options: Any) -> None:
        left = signature.parameters.keys() - signature.bind(*arguments, **options).arguments.keys()
        autolog(*arguments, **options, **{name: value for name, value in DEFAULTS.items() if name in left})

    return quietly


def _locked(*_: Any, **__: Any) -> list[str]:
    return [str(pin) for pin in lockfile.pins(lockfile.RUNTIME_LOCK)]


def _is_news(record: logging.LogRecord) -> bool:
    return "Changing param values is not allowed" not in record.getMessage()
