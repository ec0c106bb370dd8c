"""The inputs of a run, at hand: fetched from the store, or handed over by a replay that has none."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..common.errors import ProjectError
from ..common.scratch import temporary_folder
from ..record import inputs, outputs
from ..record.inputs import Input

#: Set for a process whose inputs another has fetched: the folder that has them.
VARIABLE = "REPRO_INPUTS"
#: Set by a pipeline: the runs that stand for steps, as JSON by their names.
STANDING = "REPRO_STANDING"
LIST = "inputs.json"


@contextlib.contextmanager
def at_hand(settings: Mapping[str, Any]) -> Iterator[dict[str, tuple[Input, Path]]]:
    """Give every input that a conf names, and where it lies for as long as the run goes on.

    Raises
    ------
    ProjectError
        If one cannot be had, or is not what was handed over.
    """
    addresses = inputs.addresses(settings)
    if not addresses:
        yield {}
    elif VARIABLE in os.environ:
        yield _handed(Path(os.environ[VARIABLE]), addresses)
    else:
        standing = json.loads(os.environ.get(STANDING, "{}"))
        with temporary_folder("inputs") as folder:
            found = {}
            for number, (name, address) in enumerate(addresses.items()):
                (folder / str(number)).mkdir()
                found[name] = inputs.resolve(name, address, standing, folder / str(number))
            write(folder, found)
            os.environ[VARIABLE] = str(folder)  # for the processes of a training that is several
            try:
                yield found
            finally:
                del os.environ[VARIABLE]


def write(folder: Path, found: Mapping[str, tuple[Input, Path]]) -> None:
    """Write down what lies in a folder, for another process to take; the folder may have another name there."""
    entries = {
        name: {**given.entry(), "place": place.relative_to(folder).as_posix()} for name, (given, place) in found.items()
    }
    (folder / LIST).write_text(json.dumps(entries), "utf-8")


def _handed(folder: Path, addresses: Mapping[str, str]) -> dict[str, tuple[Input, Path]]:
    entries = json.loads((folder / LIST).read_text("utf-8"))
    found = {}
    for name in addresses:
        if name not in entries:
            raise ProjectError(f"the input {name!r} was not handed over.", "just reproduce RUN_ID      anew")
        place = folder / entries[name].pop("place")
        found[name] = Input(name, **entries[name]), place
        if outputs.digest_of(outputs.scan(place)) != found[name][0].digest:
            raise ProjectError(f"the input {name!r} changed while it was handed over: {place}.", "Try again.")
    return found
