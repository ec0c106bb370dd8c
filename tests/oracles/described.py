"""What the harness makes of a model: for the oracles beside this module, in a rendered project."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bikes.reproducibility.framework import FRAMEWORK
from bikes.reproducibility.modeling.content import Content


def store(name: str, model: Any, folder: Path) -> str:
    """Write a model down; give the reason where that cannot be."""
    path = folder / name
    path.mkdir()
    try:
        FRAMEWORK.save(model, path)
    except Exception as error:
        shutil.rmtree(path)
        return f"{type(error).__name__}: {error}"
    return ""


def describe(model: Any, ask: Callable[[Any], Any]) -> dict[str, Any]:
    """Tell a model's content before and after it is asked, and its answer."""
    before = Content(model, FRAMEWORK.unpack)
    answer = Content(ask(model)).digest
    after = Content(model, FRAMEWORK.unpack)
    return {"content": before.digest, "after": after.digest, "parts": before.tree.named(), "answer": answer}
