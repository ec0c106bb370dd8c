"""Files of the project's root that Python would import in place of a package: it looks there first."""

from __future__ import annotations

import importlib.machinery
import shlex
from pathlib import Path

from ..common.errors import ProjectError
from ..common.project import PACKAGE, ROOT

#: Folders of tests, examples and the like, which packages install by mistake and nobody imports.
NOBODYS = {"test", "tests", "doc", "docs", "example", "examples", "script", "scripts", "benchmark", "benchmarks"}


def refuse(site_packages: Path) -> None:
    """Stop where a file or folder of the root has the name of an installed package.

    Raises
    ------
    ProjectError
        Naming it, and the command that gives it another name.
    """
    endings = tuple(importlib.machinery.all_suffixes())
    # Without __init__.py a folder comes last, and hides nothing.
    here = [path for path in ROOT.iterdir() if path.name.endswith(endings) or (path / "__init__.py").is_file()]
    for path in sorted(here):
        name = path.name.partition(".")[0]
        places = [site_packages / name / "__init__.py", *site_packages.glob(f"{name}.*")]
        installed = any(place.name.endswith(endings) and place.is_file() for place in places)
        if installed and name not in {PACKAGE, *NOBODYS}:
            own = shlex.quote(path.name), shlex.quote(path.name.replace(name, f"my_{name}", 1))
            raise ProjectError(
                f"{path} would be imported in place of the package {name}.",
                f"Give it another name: mv {own[0]} {own[1]}",
            )
