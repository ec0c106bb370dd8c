"""An image in a registry: pushed there under its tree's name, and known by the digest that it has there."""

from __future__ import annotations

import re
from pathlib import Path

from ..common import terminal
from ..common.errors import ProjectError
from ..common.exit_codes import USAGE
from ..common.scratch import temporary_folder
from .engine import Engine
from .image import Image, known_as


@terminal.waiting("pushing the image")
def push(engine: Engine, image: Image, name: str) -> str:
    """Push an image, and give `NAME@sha256:…`.

    Parameters
    ----------
    engine : Engine
        Which has it, and the credentials of the registry.
    image : Image
        What to push.
    name : str
        Registry and repository; the tag is that of the tree.

    Raises
    ------
    ProjectError
        With the engine's own message, if the registry refuses.
    """
    if "@" in name or ":" in name.rpartition("/")[2]:
        fix = f"just image --push {re.split('[@:]', name)[0]}"
        raise ProjectError(f"{name} has a tag or a digest: the tag is that of the tree.", fix, USAGE)
    target = f"{name}:{image.reference.rpartition(':')[2]}"
    if engine.name == "podman":
        with temporary_folder("push") as scratch:
            engine.ask("push", "--quiet", "--digestfile", str(scratch / "digest"), image.id, f"docker://{target}")
            pushed = f"{name}@{Path(scratch, 'digest').read_text('utf-8').strip()}"
        engine.ask("pull", "--quiet", pushed)  # else podman knows it by no digest but its own
        return pushed
    engine.ask("tag", known_as(engine, image.id), target)
    said = engine.ask("push", target)
    found = re.search(r"digest: (sha256:[0-9a-f]{64})", said)
    if found is None:
        raise ProjectError(f"{target} was pushed, and its digest was not told: {said[-200:]}", f"docker push {target}")
    return f"{name}@{found[1]}"
