"""MLflow's autologging beside the harness: the model of a run is logged once, by the harness."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from . import environment
from .framework import FRAMEWORK

#: Modules of MLflow besides the framework's own whose `autolog` a training may call.
ALSO = {"mlflow.keras": "mlflow.tensorflow"}


@contextmanager
def beside() -> Iterator[None]:
    """Let what is autologged while a training runs leave out what the harness logs, and what the lock says.

    Notes
    -----
    By itself `autolog` logs a model for every call of a fit, ten in a training with checkpoints, and for each it starts
    a process to find out what it requires. Here its default is `log_models=False`; who says True gets them. What a
    model requires is what is locked. Of a parameter that two fits of one run are given differently, the first value
    is kept.
    """
    import mlflow

    modules = {"mlflow", "mlflow.sklearn", FRAMEWORK.loader, ALSO.get(FRAMEWORK.loader, FRAMEWORK.loader)}
    logger = logging.getLogger("mlflow.utils.autologging_utils")
    with ExitStack() as stack:
        for name in sorted(modules):
            module = importlib.import_module(name)
            if hasattr(module, "autolog"):
                stack.enter_context(patch.object(module, "autolog", _without_models(module.autolog)))
        stack.enter_context(patch.object(mlflow.models, "infer_pip_requirements", _locked))
        logger.addFilter(_is_news)
        stack.callback(logger.removeFilter, _is_news)
        yield


def _without_models(autolog: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(autolog)

    @functools.wraps(autolog)
    def quietly(*arguments: Any, **options: Any) -> None:
        if "log_models" in signature.parameters.keys() - signature.bind(*arguments, **options).arguments.keys():
            options["log_models"] = False
        autolog(*arguments, **options)

    return quietly


def _locked(*_: Any, **__: Any) -> list[str]:
    return [str(pin) for pin in environment.pins(environment.RUNTIME_LOCK)]


def _is_news(record: logging.LogRecord) -> bool:
    return "Changing param values is not allowed" not in record.getMessage()
