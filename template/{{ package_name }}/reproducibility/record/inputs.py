"""What a step takes from other runs: an address in its conf, resolved to the very files, by digest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..conf import INPUTS
from . import makers, outputs
from .stored_model import stored

#: An input is `step:NAME/PATH`, what the newest run of that step made; or an artifact of a run, or a model, by MLflow's
#: own addresses.
ADDRESS = re.compile(r"step:(?P<step>[A-Za-z][\w-]*)/(?P<path>\S.*)|runs:/(?P<run>[0-9a-f]{32})/\S.*|models:/\S+")
#: What stands for the model of a step in the address of an input: `step:train/model`.
MODEL = "model"
EXAMPLES = "step:prepare/features.parquet, runs:/RUN_ID/PATH, models:/NAME@ALIAS"


@dataclass(frozen=True)
class Input:
    """What a run was given of another.

    Parameters
    ----------
    name : str
        What `run.input(name)` asks for.
    address : str
        As the conf has it.
    uri : str
        What it was resolved to, for good: `runs:/ID/PATH`, or `models:/m-ID`.
    run : str
        The run that made it; empty where that is not known.
    digest : str
        Of the file, or of the list of the folder.
    size : int
        In bytes.
    version : str
        Of a registered model, which version its address meant.
    """

    name: str
    address: str
    uri: str
    run: str
    digest: str
    size: int
    version: str = ""

    def entry(self) -> dict[str, Any]:
        """Give what a record says of it under its name."""
        given = {name: value for name, value in asdict(self).items() if name != "name"}
        return given if self.version else {name: value for name, value in given.items() if name != "version"}


def addresses(settings: Mapping[str, Any]) -> dict[str, str]:
    """Give the inputs that a conf names, by name.

    Raises
    ------
    ProjectError
        If there is one that is no address.
    """
    found = settings.get(INPUTS) or {}
    known = isinstance(found, Mapping) and all(isinstance(part, str) for pair in found.items() for part in pair)
    wrong = [name for name, address in found.items() if not ADDRESS.fullmatch(address)] if known else ["inputs"]
    if wrong:
        cause = (
            f"the input {wrong[0]!r} is {found[wrong[0]]!r}, which is no address." if known else "`inputs:` is no list."
        )
        raise ProjectError(cause, f"In the conf, `inputs:` has a line `name: address` each: {EXAMPLES}")
    return dict(found)


def steps(settings: Mapping[str, Any]) -> set[str]:
    """Name the steps of which a conf asks something."""
    matches = (ADDRESS.fullmatch(address) for address in addresses(settings).values())
    return {match["step"] for match in matches if match and match["step"]}


def resolve(name: str, address: str, standing: Mapping[str, str], folder: Path) -> tuple[Input, Path]:
    """Find what an address means now, and bring it into a folder; it must be what its run's record says.

    Parameters
    ----------
    name, address : str
        An input of a conf.
    standing : Mapping of str to str
        The run that stands for a step, by the step's name; of other steps it is the newest that finished.
    folder : Path
        Where to; it must be empty.

    Raises
    ------
    ProjectError
        If there is no such run or model, or what it made is not there as it was.
    """
    match = ADDRESS.fullmatch(address)
    version = ""
    if match and (step := match["step"]):
        run = makers.run_of(standing[step]) if step in standing else makers.newest(step)
        if run is None:
            raise ProjectError(
                f"the input {name!r}: no run of the step {step!r} has finished yet.",
                f"just step {step}      or all in their order: just pipeline",
            )
        of_model = match["path"] == MODEL
        uri = stored(run) if of_model else f"runs:/{run.info.run_id}/{outputs.FOLDER}/{match['path']}"
    elif match and match["run"]:
        run, uri = makers.run_of(match["run"]), address
    else:
        run, uri, version = makers.of_model(name, address)
    place = fetch(name, uri, folder)
    contents = outputs.scan(place)
    if run is not None:
        _require_as_recorded(name, run, uri, {path: file.digest for path, file in contents.items()})
    size = sum(file.size for file in contents.values())
    made_by = run.info.run_id if run is not None else ""
    return Input(name, address, uri, made_by, outputs.digest_of(contents), size, version), place


def is_still(name: str, had: Mapping[str, Any], address: str, standing: Mapping[str, str]) -> bool:
    """Tell whether an address means now what a run was given, without bringing it here.

    Parameters
    ----------
    name : str
        Of the input.
    had : Mapping of str to Any
        An entry of the run's record.
    address : str
        Of the conf.
    standing : Mapping of str to str
        The run that stands for each step.
    """
    match = ADDRESS.fullmatch(address)
    if match and match["run"]:
        return bool(had["uri"] == address)
    if not match or not match["step"]:
        return bool(had["uri"] == makers.of_model(name, address)[1])
    if had["run"] == standing[match["step"]]:
        return True
    # Another run may have made the same.
    made = makers.recorded(makers.run_of(standing[match["step"]]))
    path = match["path"]
    known = made.get("stages", {}).get(f"output {path}") or outputs.files(made.get("outputs", {})).get(path)
    return bool(had["digest"] == known)


def fetch(name: str, uri: str, folder: Path) -> Path:
    """Download what an input was resolved to, and say where it lies."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        first_line = str(error).partition("\n")[0][:300]
        raise ProjectError(
            f"the input {name!r}, {uri}, cannot be had: {first_line}",
            "Correct its address under `inputs:` in the conf; `just ui` shows what a run made.",
        ) from error


def again(given: Input, folder: Path) -> tuple[Input, Path]:
    """Bring what a run was given once more, the same to the last bit.

    Raises
    ------
    ProjectError
        With exit code 2, if it cannot be had, or is not what it was.
    """
    try:
        place = fetch(given.name, given.uri, folder)
    except ProjectError as error:
        raise ProjectError(error.cause, error.fix, CANNOT_BE_TRIED) from error
    if outputs.digest_of(outputs.scan(place)) != given.digest:
        raise ProjectError(
            f"the input {given.name!r} is not what the run was given: {given.uri} was changed in the store.",
            "Restore the store's artifacts from a backup; or from the raw data: just reproduce RUN_ID --chain",
            CANNOT_BE_TRIED,
        )
    return given, place


def instead(given: Input, place: Path, folder: Path) -> tuple[Input, Path]:
    """Bring what another execution made in place of what a run was given."""
    target = folder / place.name
    if place.is_dir():
        shutil.copytree(place, target)
    else:
        shutil.copyfile(place, target)
    contents = outputs.scan(target)
    size = sum(file.size for file in contents.values())
    return replace(given, digest=outputs.digest_of(contents), size=size), target


def _require_as_recorded(name: str, run: Any, uri: str, found: Mapping[str, str]) -> None:
    """Compare what came out of the store with what the record of its run says of it, as far as it does."""
    content = makers.recorded(run)
    if uri.startswith("models:/"):
        expected = content.get("model", {}).get("files") or {} if uri == run.data.tags.get("repro.model") else {}
        found = {path: number for path, number in found.items() if path in expected}
    else:
        path = uri.split("/", 2)[2]
        inner = path.removeprefix(f"{outputs.FOLDER}/")
        made = content.get("outputs", {}) if inner != path else {}
        expected = {
            other[len(inner) :].lstrip("/"): number
            for other, number in outputs.files(made).items()
            if other == inner or other.startswith(f"{inner}/")
        }
    differing = [path or uri for path in expected if found.get(path) != expected[path]]
    if expected and differing:
        raise ProjectError(
            f"the input {name!r} is not what run {run.info.run_id} made: {differing[0]} was changed in the store.",
            "Restore the store's artifacts from a backup; or make it anew: just pipeline --fresh",
        )
