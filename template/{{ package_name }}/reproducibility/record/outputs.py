"""What a step made for others: files and folders that are kept in the artifact folder `outputs/` of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..common import digest
from ..common.errors import ProjectError
from ..common.scratch import temporary_folder
from ..datasets import folders
from ..datasets.folders import File

FOLDER = "outputs"


def scan(place: Path) -> dict[str, File]:
    """List what an output holds, but folders with nothing in them, which not every store keeps."""
    return {path: file for path, file in folders.scan(place).items() if file.digest}


def digest_of(found: Mapping[str, File]) -> str:
    """Give the digest of a file, or of the list of a folder."""
    return found[""].digest if "" in found else digest.of_bytes(folders.text(found))


def files(made: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Give the digest of every file that a record says a step made, by its path in `outputs/`."""
    return {f"{name}/{path}".rstrip("/"): known for name, inner in made.items() for path, known in inner.items()}


def keep(outputs: Mapping[str, Path], stages: dict[str, str]) -> dict[str, dict[str, str]]:
    """Log the outputs of a step, and note the digest of each among those of the stages.

    Parameters
    ----------
    outputs : Mapping of str to Path
        By name, which is the path in `outputs/`.
    stages : dict of str to str
        Is added to: `output NAME`.

    Returns
    -------
    dict of str to dict
        Of each output, the digest of every file by its path in it; a file is its own, under an empty path.

    Raises
    ------
    ProjectError
        If an output is not there, or its name leads out of the folder or into another output.
    """
    import mlflow

    kept = {}
    for name, place in ((name, Path(place)) for name, place in outputs.items()):  # a text is a path too
        _require_own_place(name, outputs)
        if not place.exists():
            raise ProjectError(f"the output {name!r} is not there: {place}.", "Write it before the step returns.")
        found = scan(place)
        if not found:
            raise ProjectError(f"the output {name!r} is a folder without a file: {place}.", "Leave it out.")
        stages[f"output {name}"] = digest_of(found)
        kept[name] = {path: file.digest for path, file in found.items()}
        if place.is_dir():
            mlflow.log_artifacts(str(place), f"{FOLDER}/{name}")
        else:
            _log_file(place, name)
    return kept


def _log_file(place: Path, name: str) -> None:
    """Log a file under a name that may be another than its own."""
    import mlflow

    parent, _, own = name.rpartition("/")
    with temporary_folder("outputs") as scratch:
        (scratch / own).symlink_to(place.resolve())
        mlflow.log_artifact(str(scratch / own), f"{FOLDER}/{parent}".rstrip("/"))


def _require_own_place(name: str, outputs: Mapping[str, Path]) -> None:
    parts = PurePosixPath(name).parts
    inside = [other for other in outputs if other != name and PurePosixPath(name).is_relative_to(other)]
    if inside or not parts or name != "/".join(parts) or {"..", "/"} & {*parts}:
        raise ProjectError(
            f"the output {name!r} cannot be kept under that name" + (f": it lies in {inside[0]!r}." if inside else "."),
            "Name outputs as files of one folder, such as features.parquet or tables/train.parquet.",
        )
