"""The image in which a run is executed again: the same one, from here, from a registry, or built anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..common import terminal
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..containers import image, start
from ..containers.engine import Engine, find
from ..containers.image import Image
from ..containers.start import Mount
from ..record.schema import Record
from ..source.snapshot import Source
from ..training import mounts


@dataclass(frozen=True)
class Containers:
    """Whether replays go on in containers.

    Parameters
    ----------
    engine : Engine
        Whose.
    required : bool
        Whether that was asked for. Else a run is replayed without where its image cannot be had.
    """

    engine: Engine
    required: bool

    def image_of(self, recorded: dict[str, Any], project: Path, code: Source) -> Image | None:
        """Give the image of a checkout; None where it cannot be had and need not.

        Parameters
        ----------
        recorded : dict
            What a record says of its image; empty for a run outside of one.
        project : Path
            The checkout.
        code : Source
            What was captured of it.
        """
        try:
            if not (project / "Dockerfile").exists():
                raise ProjectError(
                    f"commit {code.commit[:12]} has no Dockerfile, of which an image could be built.",
                    "just reproduce RUN_ID --no-container",
                )
            if found := _same(self.engine, recorded):
                return found
            return image.of_project(self.engine, project, code, recorded.get("base", "").partition(" ")[0])
        except ProjectError as error:
            if self.required:
                raise ProjectError(error.cause, error.fix, CANNOT_BE_TRIED) from error
            _without(error)
            return None

    def train(
        self,
        picture: Image,
        code: Source,
        command: list[str],
        variables: Mapping[str, str],
        places: Iterable[Mount],
        umask: int,
        output: IO[Any],
    ) -> int:
        """Execute a training of a checkout in its image, and give its exit code."""
        seen = [*mounts.data(code.root), *mounts.left_out(code), *places]
        of_the_replay = {name: value for name, value in variables.items() if name.startswith("REPRO_")}
        variables = start.environment(variables) | of_the_replay
        return start.run(self.engine, picture, command, variables, code, seen, umask, output)


def of(record: Record) -> dict[str, Any]:
    """Give what a record says of its image; empty for a run outside of one."""
    found: dict[str, Any] = record.content["environment"].get("container", {})
    return found


def containers(record: Record, wanted: bool | None) -> Containers | None:
    """Decide whether a run is replayed in a container: as asked for, else where it was one's and there is an engine."""
    if wanted is False or (wanted is None and not of(record)):
        return None
    try:
        return Containers(find(), bool(wanted))
    except ProjectError as error:
        if wanted:
            raise
        _without(error)
        return None


def plan(record: Record, containers: Containers | None) -> str:
    """Tell in which image a run would be replayed, and where that comes from; "" for none."""
    recorded = of(record)
    if containers is None:
        return f"{recorded['image']}, not used" if recorded else ""
    if not recorded:
        return f"built from the commit with {containers.engine}, unless it is here"
    number = recorded["image"]
    if image.find(containers.engine, number):
        return f"{number}, which {containers.engine} has"
    build = f"built from the commit on {recorded['base']}"
    return f"{number}, " + (f"pulled as {recorded['pushed']}, else {build}" if recorded["pushed"] else build)


def _same(engine: Engine, recorded: dict[str, Any]) -> Image | None:
    """Find the very image of a run, here or in the registry that has it."""
    if not recorded:
        return None
    found = image.find(engine, recorded["image"])
    if found is None and recorded["pushed"]:
        try:
            with terminal.waiting("pulling the image"):
                engine.ask("pull", recorded["pushed"])
        except ProjectError as error:
            terminal.notice(f"{error.cause} The image is built anew.")
        found = image.find(engine, recorded["image"])
    return found


def _without(error: ProjectError) -> None:
    terminal.notice(f"replayed without a container: {error.cause}")
