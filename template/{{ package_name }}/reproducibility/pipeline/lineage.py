"""What a run was made from: the runs that made its inputs, and theirs, back to the raw data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..common.project import MAIN
from ..record import makers


@dataclass
class Link:
    """A run, and what it was made from.

    Parameters
    ----------
    run : mlflow.entities.Run
        The run.
    content : dict
        Its record; empty where it has none that is its own.
    made_by : dict of str to Link
        The runs that made its inputs, by the name of the input; of other inputs it is not known.
    """

    run: Any
    content: dict[str, Any]
    made_by: dict[str, Link] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The run's ID."""
        return str(self.run.info.run_id)

    @property
    def step(self) -> str:
        """The step of the project that it did."""
        return str(self.content.get("step", MAIN)) if self.content else "a run without a record"

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """What its record says of its inputs, by name."""
        found: dict[str, dict[str, Any]] = self.content.get("inputs", {})
        return found

    @property
    def data(self) -> dict[str, dict[str, Any]]:
        """What its record says of its datasets, by name."""
        found: dict[str, dict[str, Any]] = self.content.get("data", {})
        return found

    @property
    def verdict(self) -> str:
        """What came of reproducing it."""
        return str(self.run.data.tags.get("repro.verdict", "not reproduced yet"))


def trace(run: Any, known: dict[str, Link] | None = None) -> Link:
    """Follow a run back to what it was made from.

    Parameters
    ----------
    run : mlflow.entities.Run
        The run.
    known : dict of str to Link, optional
        Those that were followed so far, by their IDs.

    Raises
    ------
    ProjectError
        With exit code 2, if a run on the way is not in the store any more.
    """
    known = {} if known is None else known
    link = known[run.info.run_id] = Link(run, makers.recorded(run))
    for name, entry in link.inputs.items():
        if number := entry["run"]:
            try:
                link.made_by[name] = known.get(number) or trace(makers.run_of(number, may_be_deleted=True), known)
            except ProjectError as error:
                said = f"run {link.id} was given {name!r}, {entry['uri']}: {error.cause}"
                raise ProjectError(said, error.fix, CANNOT_BE_TRIED) from error
    return link


def in_order(link: Link) -> list[Link]:
    """List the links of a chain, each after those that it was made from."""
    ordered: dict[str, Link] = {}

    def visit(one: Link) -> None:
        if one.id not in ordered:
            for other in one.made_by.values():
                visit(other)
            ordered[one.id] = one

    visit(link)
    return [*ordered.values()]
