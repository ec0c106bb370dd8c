"""`just reproduce RUN_ID --chain`: all that a run was made from, executed again from the raw data, link by link."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.text import Text

from ..common import digest, exit_codes, terminal
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED, DIFFERENT
from ..proof import refusals, replay_image, report, reproduce, verdict
from ..proof.compare import MEANINGS, Comparison, worst
from ..proof.page import Digest, Section, page
from ..record import inputs, lookup, outputs, reader
from ..store import tracking
from . import show
from .lineage import Link, in_order, trace

#: The page of a chain's verdict, an artifact of the run that was asked for.
PAGE = "chain.html"
#: What the page says of each link, and not of all together.
OF_A_LINK = ("run", "executed", "step", "result")


class Tried(NamedTuple):
    """A link, and what came of it; one of which something was changed in the store is not executed again."""

    link: Link
    verdict: str
    remarks: list[str]
    original: dict[str, Any]
    replay: dict[str, Any]
    apart: Sequence[Section] = ()

    @classmethod
    def of(cls, link: Link, comparison: Comparison, replayed: str) -> Tried:
        """Say what came of a link: where it and its replay part, as the page of that replay does."""
        sides = (dict(report.facts(comparison.a)), dict(report.facts(comparison.b)) | {"run": Digest(replayed)})
        apart = (report.stages(comparison, ("original", "replay")), report.differences(comparison))
        shown = [part._replace(heading=f"{part.heading}: {link.step}") for part in apart if comparison.remarks]
        return cls(link, comparison.verdict, comparison.remarks, *sides, shown)


def reproduce_chain(run_id: str, container: bool | None = None) -> int:
    """Execute a run and all that it was made from again, print a line a link, and give the worst verdict's exit code.

    Each link is given what the replays before it made, and not what the store has: the last one then follows from the
    raw data alone. It ends with the first link that parts, as nothing that is made from it could be equal. What came of
    it is kept as a page, in the run that was asked for.

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
    tried: list[Tried] = []
    with reproduce.scratch_folder() as scratch:
        for number, link in enumerate(links):
            tried.append(_replay(link, made, scratch / str(number), container))
            found = tried[-1].verdict
            line = Text(f"{link.step:<{width}}  run {link.id}  ").append(found, terminal.VERDICTS[found])
            terminal.console().print(line)
            if found == DIFFERENT:
                break
            made[link.id] = scratch / str(number) / "outputs"
    for remark in _remarks(links, tried):
        terminal.console().print(Text(f"  {remark}"))
    _keep(links, tried)
    return exit_codes.EXIT_CODES[worst(one.verdict for one in tried)]


def certificate(links: Sequence[Link], tried: Sequence[Tried]) -> str:
    """Write what came of a chain as one HTML page.

    Parameters
    ----------
    links : sequence of Link
        All of the chain, each after those that it was made from.
    tried : sequence of Tried
        The first of them: all, up to one that parts.
    """
    *_, asked = links
    found = worst(one.verdict for one in tried)
    said = f"Run {asked.id[:8]} and all that it was made from, executed again from the raw data: {MEANINGS[found]}"
    verdicts = {link.id: "not tried" for link in links} | {one.link.id: one.verdict for one in tried}
    rows = [*map(_row, tried), *((link.step, Digest(link.id), "not tried") for link in links[len(tried) :])]
    columns = ("step", "run", "executed", "result", "its replay", "executed", "result", "verdict")
    sections = [
        Section("Links", ["A replay is given what those before it made."], columns, rows, whole=True),
        show.drawn(asked, verdicts),
        Section("What was executed", (), ("", "original", "replay"), [*_facts(tried)]),
        show.data(links),
        *(section for one in tried for section in one.apart),
    ]
    return page("Certificate of a chain", found, found, [said, *_remarks(links, tried)], sections)


def _replay(link: Link, made: dict[str, Path], scratch: Path, container: bool | None) -> Tried:
    """Execute a link again with what those before it made, and keep that."""
    if not link.content:
        raise ProjectError(
            f"run {link.id}, which made something of this chain, has no record that is its own.",
            "just reproduce RUN_ID      without --chain takes what it made as it is.",
            CANNOT_BE_TRIED,
        )
    record = reader.download(link.run, scratch / "original")
    if changed := [*_changed_in_store(link, scratch / "kept")]:
        remarks = [f"changed in the store since the run: {path}" for path in changed]
        return Tried(link, DIFFERENT, remarks, dict(report.facts(record)), {})
    refusals.require_git(record)
    given = {name: place for name, entry in link.inputs.items() if (place := _made(entry, made))}
    containers = replay_image.containers(record, container)
    comparison = reproduce.again(record, scratch, inputs=given, containers=containers)
    tried = Tried.of(link, comparison, reproduce.keep(comparison, scratch))
    if (kept := comparison.b.folder.parent / outputs.FOLDER).exists():
        kept.rename(scratch / "outputs")
    return tried


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


def _keep(links: Sequence[Link], tried: Sequence[Tried]) -> None:
    """Keep the page in the run that was asked for, as far as the store allows."""
    import mlflow

    *_, asked = links
    with verdict.as_far_as_allowed():
        mlflow.MlflowClient().log_text(asked.id, certificate(links, tried), PAGE)
        print(f"kept in run {asked.id}: {PAGE}")


def _remarks(links: Sequence[Link], tried: Sequence[Tried]) -> Iterator[str]:
    """Say where a chain parts, if it does, and what was not tried."""
    *_, last = tried
    if last.verdict != DIFFERENT:
        return
    yield f"the first link that parts: {last.link.step}"
    yield from last.remarks
    if later := links[len(tried) :]:
        yield f"not tried after that: {', '.join(link.step for link in later)}"


def _row(one: Tried) -> tuple[Any, ...]:
    """Put a link and its replay side by side."""
    sides = [side.get(name) or "none" for side in (one.original, one.replay) for name in ("run", "executed", "result")]
    return (one.link.step, *sides, one.verdict)


def _facts(tried: Sequence[Tried]) -> Iterator[tuple[Any, ...]]:
    """Say what all links and their replays were, each value once."""
    for name in (name for name in tried[0].original if name not in OF_A_LINK):
        one = _once(part.original[name] for part in tried)
        other = _once(part.replay.get(name) for part in tried)
        if one or other:
            yield (name, one) if one == other else (name, one or "none", other or "none")


def _once(values: Iterable[Any]) -> Any:
    """Give what is there, each once; what is alone, without a list around it."""
    found = [*dict.fromkeys(value for value in values if value)]
    return found[0] if len(found) == 1 else found
