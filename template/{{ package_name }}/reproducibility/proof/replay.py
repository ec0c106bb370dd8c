"""Execute a recorded run again: its code in a fresh checkout, its data, its lock's environment, its settings."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from .. import conf
from ..common import digest, quiet, shell, terminal
from ..common.errors import ProjectError
from ..common.exit_codes import CANNOT_BE_TRIED
from ..common.project import MAIN, ROOT
from ..common.scratch import OWNER, PREFIX
from ..containers.image import Image
from ..containers.start import PROJECT, Mount
from ..datasets import remembered
from ..datasets.manifest import Dataset
from ..environment import mlflow_environment
from ..randomness import launch
from ..record import inputs, reader
from ..record.inputs import Input
from ..record.metrics import keys
from ..record.schema import LOCK, REPLAY, Record
from ..source import checkout
from ..source.capture import capture
from ..source.checkout import inside
from ..source.snapshot import Source
from ..store import sqlite
from ..training import given
from . import read_only, replay_data, replay_image
from .refusals import require_confined
from .replay_image import Containers

#: Of this process's environment, what would lead the replay elsewhere or is the launch environment's business.
FOREIGN = ("MLFLOW_", "REPRO_", "INVOCATION_DIRECTORY", "PYTHONHASHSEED")
#: What the replay prints.
LOG = "replay.log"
#: Bytes of a file's name.
LONGEST = 255
#: What may be wrong with a replay in a store of files, though no name that the run is known to have logged says so.
OF_FILES = (
    "\nIf it names a file in {}: the training logs a name that cannot be a file's there, as `loss`\n"
    "beside `loss/val`, or one of more than 255 bytes. The run itself is well; name it otherwise."
)
#: What of the project is nobody's code.
NOT_CODE = (".git", ".venv*", "mlruns", "mlflow.db*", "mlartifacts", "__pycache__", ".*_cache")


@dataclass(frozen=True)
class Recipe:
    """What to execute. Each part may come from another record, so that their effects can be told apart.

    Parameters
    ----------
    code, data, given, lock : Record
        Whose code, whose data, whose inputs and whose environment.
    conf : dict
        The settings, seed and threads among them.
    variables : dict of str to str
        Environment variables on top of this process's.
    umask : int, optional
        File mode mask of the replay; this process's by default.
    containers : Containers, optional
        Where it is executed in an image; by default it is not.
    inputs : dict of str to Path, optional
        What it is given of other replays, by name; of other inputs it gets what `given` had.
    may_show : bool, default True
        Whether it may see large data where they are, read-only; else it gets a copy.
    """

    code: Record
    data: Record
    given: Record
    lock: Record
    conf: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)
    umask: int = -1
    containers: Containers | None = None
    inputs: dict[str, Path] = field(default_factory=dict)
    may_show: bool = True

    @classmethod
    def of(cls, record: Record, variables: dict[str, str] | None = None, **options: Any) -> Recipe:
        """Execute a run just as it was recorded."""
        return cls(record, record, record, record, record.conf, variables or {}, **options)


def execute(recipe: Recipe, scratch: Path) -> Record:
    """Execute a recipe in a new folder, and read what it recorded: nothing of it is in the project's own store yet.

    Raises
    ------
    ProjectError
        With exit code 2, if a part cannot be had; with 3, if the environment cannot be built or the code fails.
    """
    scratch.mkdir(parents=True)
    with terminal.waiting("bringing back the code"):
        project = check_out(recipe.code, scratch / "code")
        put_lock(project, recipe.lock)
        # Before data are there, which no image holds.
        code = capture(project) if recipe.containers else None
    picture = _image(recipe, project, code) if code else None
    shown = _put_data(recipe, project, scratch)
    handed = _put_inputs(recipe, scratch / "inputs")
    settings = scratch / "conf.yaml"
    settings.write_text(yaml.safe_dump(recipe.conf, sort_keys=False), "utf-8")
    store = scratch / "store"
    store.mkdir()
    in_files = not needs_database(recipe)
    # Written by the MLflow of the recorded lock. Of plain files where that can be: a database takes seconds to make.
    uri = store.as_uri() if in_files else sqlite.uri(store / "store.db")
    own = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_FILE_STORE": "true", "PYTHONWARNINGS": "ignore"}
    own |= dict.fromkeys((REPLAY, remembered.ANEW), "1") | {OWNER: PREFIX} | quiet.told()
    variables = launch.child(*FOREIGN) | own | handed | recipe.variables
    step = ["train"] if recipe.code.step == MAIN else ["step", recipe.code.step]
    command = ["-m", recipe.code.content["project"], *step, "--config", str(settings)]
    # Artifacts of a database's runs lie where MLflow puts them by default: in the folder where it works.
    artifacts = store if in_files else project / "mlruns"
    artifacts.mkdir(exist_ok=True)
    with (scratch / LOG).open("wb") as output:
        if recipe.containers and code and picture:
            places = [Mount(settings), Mount(store, writable=True), *(Mount(Path(place)) for place in handed.values())]
            places += [] if in_files else [Mount(artifacts, PROJECT / "mlruns", writable=True)]
            places += [Mount(source, PROJECT / target.relative_to(project)) for source, target in shown]
            arguments = (["python", *command], variables, places, recipe.umask, output)
            exit_code = recipe.containers.train(picture, code, *arguments)
        else:
            with contextlib.redirect_stdout(sys.stderr):  # the builder's messages are not the verdict
                python = mlflow_environment.python(mlflow_environment.ready(project))
            seeing = read_only.command(shown, [str(python), *command])
            exit_code = shell.run(seeing, project, variables, output, recipe.umask)
    if exit_code and shown:
        terminal.notice("executed once more, with a copy of its data: read-only it came to no end.")
        shutil.rmtree(scratch)
        return execute(replace(recipe, may_show=False), scratch)
    if exit_code:
        _refuse(exit_code, scratch / LOG, OF_FILES.format(store) if in_files else "")
    found = list(artifacts.glob("*/*/artifacts/record"))
    if len(found) != 1:
        raise ProjectError("the replay left no record.", f"Its own messages: {scratch / LOG}")
    return reader.read("replay", found[0])


def _image(recipe: Recipe, project: Path, code: Source) -> Image | None:
    """Give the image of a checkout, where it can be had: the recorded one, if no part of it was exchanged."""
    recorded = replay_image.of(recipe.code) if recipe.code is recipe.lock else {}
    with contextlib.redirect_stdout(sys.stderr):
        return recipe.containers.image_of(recorded, project, code) if recipe.containers else None


def needs_database(recipe: Recipe) -> bool:
    """Tell whether names that the run logged could not all be those of files: "loss" and "loss/val", or too long."""
    records = (recipe.code, recipe.data, recipe.lock)
    kinds = [{*keys(record.metrics).values()} for record in records]
    logged = [record.run.data for record in records if record.run]
    kinds += [{*names} for data in logged for names in (data.metrics, data.params, data.tags)]
    kinds.append({*conf.flatten(recipe.conf)})
    return any(not _could_be_files(names) for names in kinds)


def _could_be_files(names: set[str]) -> bool:
    # Some file systems take "Loss" and "loss" for one name.
    paths = [PurePosixPath(name.casefold()) for name in names]
    folders = {folder for path in paths for folder in path.parents}
    too_long = any(len(os.fsencode(part)) > LONGEST for name in names for part in name.split("/"))
    return not (too_long or folders & {*paths} or len({*paths}) < len(names))


def check_out(record: Record, folder: Path) -> Path:
    """Put a run's code into a folder, and name the project in it; of a run outside git, it is as it is now."""
    code = record.content["code"]
    if code["commit"] == "none":
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_CODE), ignore_dangling_symlinks=True)
        return folder
    require_confined(record)
    patches = {record.digests[file.name]: file.read_bytes() for file in record.folder.glob("uncommitted*.patch")}
    project = checkout.restore(code, patches, folder)
    for entry in code["left_out"]:
        file = ROOT / entry["path"]
        if not digest.fits(file, entry["digest"]):
            raise ProjectError(
                f"{entry['path']} is in neither commit nor record ({entry['why']}), and not here as it was: "
                f"{entry['digest']}.",
                f"Put it back at {file}, then try again. Commit it before the next run.",
                CANNOT_BE_TRIED,
            )
        if not Path(entry["path"]).is_absolute():  # else it is found where it is
            _copy(file, Path(os.path.normpath(project / entry["path"])), folder.resolve())
    return project


def _copy(file: Path, target: Path, folder: Path) -> None:
    """Copy a file into a checkout; a link on the way that leads out of it is replaced by a folder."""
    for place in (*reversed(target.parents), target):
        if place.is_relative_to(folder):
            replay_data.cut(place, folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def put_lock(project: Path, record: Record) -> None:
    """Put the recorded lock into a checkout, and not where a link of that name leads."""
    lock = project / LOCK
    lock.unlink(missing_ok=True)
    shutil.copyfile(record.folder / LOCK, lock)


def _put_data(recipe: Recipe, project: Path, scratch: Path) -> list[tuple[Path, Path]]:
    """Make sure that every dataset of the run lies in the checkout as it was, or can be shown there."""
    entries = [Dataset(name=name, **entry) for name, entry in recipe.data.content["data"].items()]
    folders = [ROOT]
    if recipe.data is not recipe.code:
        folders.append(check_out(recipe.data, scratch / "data"))
        replay_data.register(entries, inside(project, "data/datasets.yaml"))
    return replay_data.put(entries, project, folders, recipe.containers is not None, recipe.may_show)


def _put_inputs(recipe: Recipe, folder: Path) -> dict[str, str]:
    """Bring what the run was given of other runs, and give the variable that says where it lies; none without inputs.

    Raises
    ------
    ProjectError
        With exit code 2, if it cannot be had as it was.
    """
    found = {}
    for number, (name, entry) in enumerate(recipe.given.content.get("inputs", {}).items()):
        (folder / str(number)).mkdir(parents=True)
        place = recipe.inputs.get(name)
        found[name] = (
            inputs.again(Input(name, **entry), folder / str(number))
            if place is None
            else inputs.instead(Input(name, **entry), place, folder / str(number))
        )
    if not found:
        return {}
    given.write(folder, found)
    return {given.VARIABLE: str(folder)}


def _refuse(code: int, log: Path, hint: str) -> None:
    """Say how a training has ended; its results went to a log, its progress to the terminal."""
    said = "\n".join(log.read_text("utf-8", "replace").splitlines()[-10:])
    raise ProjectError(
        f"the code of the run failed when it was executed again (exit code {code}). {said}",
        f"Its own message stands above. It ran before: has something outside the repository changed?{hint}",
    )
