"""Where the project lies and what it is called."""

from __future__ import annotations

import functools
from pathlib import Path

from .errors import ProjectError

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = Path(__file__).resolve().parents[2].name
HARNESS = Path(__file__).resolve().parents[1]
#: The step that every project has.
MAIN = "train"


@functools.cache
def options() -> dict[str, str]:
    """Read `[tool.reproducibility]` of pyproject.toml: `experiment`, `tracking-uri`, and `data` where there is one."""
    import tomllib

    try:
        pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        found: dict[str, str] = pyproject["tool"]["reproducibility"]
        return {"experiment": found["experiment"], "tracking-uri": found["tracking-uri"], "data": found.get("data", "")}
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(
            f"pyproject.toml cannot be used: {error!r}.",
            "It needs [tool.reproducibility] with `experiment` and `tracking-uri`; see `git diff pyproject.toml`.",
        ) from error
