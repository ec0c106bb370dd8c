"""`just reproduce RUN_ID --chain`: all that a run was made from, executed again from the raw data, link by link."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from ..common import digest, exit_codes, terminal
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED, DIFFERENT
from ..proof import refusals, replay_image, reproduce
from ..record import inputs, lookup, outputs, reader
from ..store import tracking
from .lineage import Link, in_order, trace


def reproduce_chain(run_id: str, container: bool | None = None) -> int:
    """Execute a run and all that it was made from again, print a line a link, and give the worst verdict's exit code.

    Each link is given what the replays before it made, and not what the store has: the last one then follows from the
    raw data alone. It ends with the first link that parts, as nothing after that could be equal.

    Parameters
    ----------
    run_id : str
        What a person calls the run.
    container : bool, optional
        Whether it is done in containers; by default as each run was.

    Raises
    ------
    ProjectError
        With exit code 2, if a link cannot be tried.
    """
    tracking.connect()
    links = in_order(trace(lookup.get_run(run_id)))
    width = max(len(link.step) for link in links)
    made: dict[str, Path] = {}
    with reproduce.scratch_folder() as scratch:
        for number, link in enumerate(links):
            found, remarks = _replay(link, made, scratch / str(number), container)
            line = Text(f"{link.step:<{width}}  run {link.id}  ").append(found, terminal.VERDICTS[found])
            terminal.console().print(line)
            if found == DIFFERENT:
                later = ", ".join(other.step for other in links[number + 1 :])
                remarks += [f"not tried, as it is made from that: {later}"] * bool(later)
                for remark in [f"the first link that parts: {link.step}", *remarks]:
                    terminal.console().print(Text(f"  {remark}"))
                return exit_codes.EXIT_CODES[found]
            made[link.id] = scratch / str(number) / "outputs"
    return 0


def _replay(link: Link, made: dict[str, Path], scratch: Path, container: bool | None) -> tuple[str, list[str]]:
    """Execute a link again with what those before it made, keep that, and give the verdict and what to say of it."""
    if not link.content:
        raise ProjectError(
            f"run {link.id}, which made something of this chain, has no record that is its own.",
            "just reproduce RUN_ID      without --chain takes what it made as it is.",
            CANNOT_BE_TRIED,
        )
    record = reader.download(link.run, scratch / "original")
    if changed := list(_changed_in_store(link, scratch / "kept")):
        return DIFFERENT, [f"changed in the store since the run: {path}" for path in changed]
    refusals.require_git(record)
    given = {name: place for name, entry in link.inputs.items() if (place := _made(entry, made))}
    containers = replay_image.containers(record, container)
    comparison = reproduce.again(record, scratch, inputs=given, containers=containers)
    reproduce.keep(comparison, scratch)
    if (kept := comparison.b.folder.parent / outputs.FOLDER).exists():
        kept.rename(scratch / "outputs")
    return comparison.verdict, comparison.remarks


def _changed_in_store(link: Link, folder: Path) -> Iterator[str]:
    """Name the outputs of a run that are not in the store as its record says."""
    made: dict[str, dict[str, Any]] = link.content.get("outputs", {})
    if not made:
        return
    folder.mkdir()
    place = inputs.fetch("outputs", f"runs:/{link.id}/{outputs.FOLDER}", folder)
    for name, files in made.items():
        for path, was in files.items():
            if was and not digest.fits(place / name / path, was):
                yield f"{outputs.FOLDER}/{name}/{path}".rstrip("/")


def _made(entry: dict[str, Any], made: dict[str, Path]) -> Path | None:
    """Find what a replay made in place of an input; a model is the store's: its content was compared."""
    beginning = f"runs:/{entry['run']}/{outputs.FOLDER}/"
    if entry["run"] not in made or not entry["uri"].startswith(beginning):
        return None
    return made[entry["run"]] / str(entry["uri"]).removeprefix(beginning)
