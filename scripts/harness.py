"""The harness of the working tree, as modules: what a project with scikit-learn would run, without rendering one.

The folder of the project is then the template itself: what reads or writes a project's files needs a rendered one.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

TEMPLATE = Path(__file__).resolve().parents[1] / "template"
FOLDER = TEMPLATE / "{{ package_name }}" / "reproducibility"
#: What only a project with scikit-learn has.
FRAMEWORK = TEMPLATE / "{{ '.' if framework == 'scikit-learn' }}" / "{{ package_name }}" / "reproducibility"
PACKAGE = "harness_of_the_template"


def load(name: str) -> ModuleType:
    """Import a module of the harness, such as "source.git"."""
    if PACKAGE not in sys.modules:
        # Not the package's `__init__`: it is the public surface, and would import MLflow for every module.
        package = ModuleType(PACKAGE)
        package.__path__ = [str(FOLDER), str(FRAMEWORK)]
        sys.modules[PACKAGE] = package
        for room in (path.name for path in FRAMEWORK.iterdir() if path.is_dir()):
            importlib.import_module(f"{PACKAGE}.{room}").__path__.append(str(FRAMEWORK / room))
    return importlib.import_module(f"{PACKAGE}.{name}")
