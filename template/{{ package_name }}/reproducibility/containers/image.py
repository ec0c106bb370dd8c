"""The image of a tree: found by its name and labels, else built."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import digest
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..common.project import PACKAGE, ROOT
from ..source.capture import capture
from ..source.snapshot import Source
from . import builders, contents
from .context import context
from .engine import Engine

#: What an image says of itself: the commit, the tree, its base and who built it.
COMMIT, BASE = "org.opencontainers.image.revision", "org.opencontainers.image.base.name"
TREE, BUILDER, CONTENTS = "repro.tree", "repro.builder", "repro.contents"


@dataclass(frozen=True)
class Image:
    """An image, as records have it.

    Parameters
    ----------
    id : str
        `sha256:…`, the digest of its configuration.
    reference : str
        `PACKAGE:COMMIT`, or `PACKAGE:tree-TREE` for uncommitted work, twelve digits each.
    base : str
        As the Dockerfile or the command names it; one that is not pinned, with the ID that it had.
    engine, builder : str
        With their versions.
    contents : str
        The digest of its files without times; "" where equal inputs give an equal ID.
    pushed : str
        `NAME@sha256:…` in a registry that has it, else "".
    """

    id: str
    reference: str
    base: str
    engine: str
    builder: str
    contents: str
    pushed: str


def of_project(
    engine: Engine,
    project: Path = ROOT,
    code: Source | None = None,
    base: str = "",
    layers: Path | None = None,
) -> Image:
    """Give the image of a project as it lies there, uncommitted work included: built, if it is not here yet.

    Parameters
    ----------
    engine : Engine
        Where it is to be.
    project : Path
        Its folder.
    code : Source, optional
        What was captured of it.
    base : str
        A base in place of the Dockerfile's; by default that of CONTAINER_BASE.
    layers : Path, optional
        A folder that keeps layers from one machine to the next.

    Raises
    ------
    ProjectError
        If there is no commit, or the image cannot be built.
    """
    code = code or capture(project)
    base = base or default_base(project)
    labels = labels_of(code, base)
    reference = reference_of(code)
    there = engine.inspect(reference)
    if there is not None and labels.items() <= _labels(there).items():
        return _image(engine, there, reference)
    return build(engine, builders.choose(engine), project, code, base, layers=layers)


def build(
    engine: Engine,
    builder: builders.Builder,
    project: Path,
    code: Source,
    base: str,
    cached: bool = True,
    name: bool = True,
    layers: Path | None = None,
) -> Image:
    """Build the image of a tree, and give it its name when it is whole."""
    reference = reference_of(code)
    labels = {**labels_of(code, base), BUILDER: builder.name}
    print(f"Building {reference} with {builder.name}, on {base}", file=sys.stderr)
    with context(code, project) as folder:
        number, known_as = builder.build(engine, folder, {"BASE": base}, labels, cached, layers)
    if not builder.stable:
        number = known_as = contents.labelled(engine, number, CONTENTS)
    if known_as != number:
        engine.ask("tag", known_as, _by_id(number))
    if name:
        engine.ask("tag", known_as, reference)
    built = engine.inspect(known_as)
    if built is None:
        raise ProjectError(f"{reference} was built, and is gone again.", "just image")
    return _image(engine, built, reference)


def find(engine: Engine, name: str) -> Image | None:
    """Find an image that is here, by its reference or ID; None if there is none of this project's."""
    there = engine.inspect(known_as(engine, name))
    if there is None or TREE not in _labels(there):
        return None
    names = [tag for tag in there.get("RepoTags") or [] if ":id-" not in tag] if name.startswith("sha256:") else []
    return _image(engine, there, names[0] if names else name)


def known_as(engine: Engine, name: str) -> str:
    """Give what an engine calls an image: in containerd's store, an ID is to Docker what the manifest's digest is."""
    own = name.startswith("sha256:") and "containerd" in str(engine.info.get("DriverStatus"))
    return _by_id(name) if own and engine.inspect(name) is None else name


def _by_id(number: str) -> str:
    return f"{PACKAGE}:id-{number.removeprefix('sha256:')}"


def reference_of(code: Source) -> str:
    """Give the name of a tree's image."""
    return f"{PACKAGE}:{code.commit[:12]}" if code.dirty == "false" else f"{PACKAGE}:tree-{tree_of(code)[:12]}"


def tree_of(code: Source) -> str:
    """Give one hash for the project and the repositories that lie in it."""
    if not code.repositories:
        return code.tree
    inner = [f"{one.path} {one.tree}" for one in code.repositories]
    return digest.of_bytes("\n".join([code.tree, *inner]).encode()).removeprefix("sha256:")


def labels_of(code: Source, base: str) -> dict[str, str]:
    """Give the labels by which an image is known.

    Raises
    ------
    ProjectError
        With exit code 2, if there is no commit to build from.
    """
    if code.commit == "none":
        raise ProjectError(
            f"an image is built from a commit, and there is none. {code.refused}".strip(),
            'git init && git add -A && git commit -m "Start"',
            CANNOT_BE_TRIED,
        )
    return {COMMIT: code.commit, TREE: tree_of(code), BASE: base}


def default_base(project: Path = ROOT) -> str:
    """Give the base of a project's images: CONTAINER_BASE, else what its Dockerfile names.

    Raises
    ------
    ProjectError
        If the project has no Dockerfile.
    """
    file = project / "Dockerfile"
    found = re.search(r"^ARG BASE=(\S+)", file.read_text("utf-8") if file.exists() else "", re.MULTILINE)
    named = os.environ.get("CONTAINER_BASE") or (found and found[1])
    if not named or not file.exists():
        raise ProjectError(
            "this project has no Dockerfile of the template: it has container=none, or is older than that.",
            "just template-update --data container=docker",
        )
    return named


def _image(engine: Engine, there: Mapping[str, Any], reference: str) -> Image:
    labels = _labels(there)
    # Some engines list a digest under the image's own name, which no registry has.
    own = (f"{PACKAGE}@", "localhost/")
    pushed = [name for name in there.get("RepoDigests") or [] if not name.startswith(own)]
    # podman also lists a digest of its own making, with which the registry knows nothing.
    pushed.sort(key=lambda name: name.endswith(there.get("Digest", "none")))
    by_id = [tag for tag in there.get("RepoTags") or [] if f"{PACKAGE}:id-" in tag]
    number = by_id[0].rpartition("-")[2] if by_id else there["Id"]
    return Image(
        id=with_algorithm(number),
        reference=reference,
        base=_base(engine, labels.get(BASE, "")),
        engine=str(engine),
        builder=labels.get(BUILDER, ""),
        contents=labels.get(CONTENTS, ""),
        pushed=pushed[0] if pushed else "",
    )


def _base(engine: Engine, name: str) -> str:
    """Name a base with what it was: its digest, or its ID where it is not pinned and still here."""
    if not name or "@sha256:" in name:
        return name
    there = engine.inspect(name)
    return f"{name} ({with_algorithm(there['Id'])})" if there is not None else name


def with_algorithm(number: str) -> str:
    """Write an image's ID as Docker does; podman leaves the algorithm out."""
    return number if number.startswith("sha256:") else f"sha256:{number}"


def _labels(there: Mapping[str, Any]) -> dict[str, str]:
    return there["Config"].get("Labels") or {}
