"""The harness of the working tree, as modules: what a rendered project would run, without rendering one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[1] / "template" / "{{ package_name }}" / "reproducibility"


def load(name: str) -> ModuleType:
    """Import a module of the harness that needs no framework.

    Parameters
    ----------
    name : str
        Such as "merge".
    """
    if "harness_of_the_template" not in sys.modules:
        # Not the package itself: it would import the framework's module, which stands in another folder.
        package = ModuleType("harness_of_the_template")
        package.__path__ = [str(FOLDER)]
        sys.modules[package.__name__] = package
    return importlib.import_module(f"harness_of_the_template.{name}")
