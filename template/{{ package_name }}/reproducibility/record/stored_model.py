"""Keep the model of a result: what it is made of, what it answers, and where it is stored."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import adapter
from ..common import digest, terminal
from ..common.errors import ProjectError
from ..common.scratch import temporary_folder
from ..framework import FRAMEWORK
from ..modeling.content import Content
from ..source import own_code
from ..store import tracking
from .schema import files

if TYPE_CHECKING:
    from ..modeling.result import Result

#: Tags of a run: the URI of its model, or why it has none.
STORED, NOT_STORED = "repro.model", "repro.model_not_stored"
#: Set for a trial of which nobody wants more than its record: its model and its pictures are compared, not stored.
DIGESTS_ALONE = "REPRO_DIGESTS_ALONE"
#: Why such a run has no model.
NOT_KEPT = "its sweep keeps the model of the best trial alone"


class Kept:
    """The model of a result. Whatever is wrong with it, the run goes on and says so."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.adapter = result.adapter or FRAMEWORK
        self.content: Content | None = None

    def note(self, stages: dict[str, str]) -> None:
        """Note its content and its answers among the digests of the stages."""
        model, inputs = self.result.model, self.result.inputs
        if model is None:
            return

        def weights() -> None:
            self.content = Content(self.adapter.content(model), FRAMEWORK.unpack)
            stages["weights"] = self.content.digest

        def probe() -> None:
            if inputs is not None:
                stages["probe"] = digest.of_value(self.adapter.probe(model, adapter.first(inputs)))

        attempt("what the model is made of is not compared", weights)
        attempt("the model was not asked to predict once more", probe)

    def kind(self) -> dict[str, str]:
        """Say what it is, for the record."""
        found = {"kind": "other"}

        def ask() -> None:
            found.update(self.adapter.kind(self.result.model))

        attempt("what kind of model it is is not known", ask)
        return found

    def log(self, requirements: str, commit: str, imported: dict[str, str]) -> dict[str, str]:
        """Store it beside the lock that it needs; give a tag of the run: where it is, or why it could not be stored.

        Of the files that the run imported, by path and digest, those are named that the model needs.
        """
        if DIGESTS_ALONE in os.environ:
            return {NOT_STORED: NOT_KEPT}
        if self.result.model is None:
            return {}
        # An adapter that only says what is compared leaves the storing to the framework.
        stores = type(self.adapter).save is not adapter.ModelAdapter.save or isinstance(self.adapter, type(FRAMEWORK))
        storing = self.adapter if stores else FRAMEWORK
        names = frozenset(self.content.code if self.content else ())
        found: dict[str, str] = {}

        def store() -> None:
            own = f"{type(storing).__module__}.{type(storing).__qualname__}"
            code = {"commit": commit, "modules": own_code.needed({own, *names}, imported)}
            beside = adapter.beside(storing, self.result.inputs, self.result.predictions, requirements, code)
            found[STORED] = storing.log_model(self.result.model, beside, names)

        why = attempt("the model is not stored", store)
        return found or {NOT_STORED: why[:5000]}


def stored(run: Any) -> str:
    """Give the URI of the model of a run.

    Raises
    ------
    ProjectError
        If it stored none, with the reason.
    """
    tags, outputs = run.data.tags, run.outputs.model_outputs
    if tags.get(NOT_STORED) == NOT_KEPT:
        raise ProjectError(
            f"run {run.info.run_id} has no model: {NOT_KEPT}.",
            f"just sweep --resume {tags['mlflow.parentRunId']} --keep {tags['repro.trial'].partition('.')[0]}",
        )
    if NOT_STORED in tags:
        raise ProjectError(
            f"run {run.info.run_id} could not store its model: {tags[NOT_STORED][:500]}",
            "Give the result an adapter with `save` and `load`: Result(…, adapter=…); the README says how.",
        )
    # By its tag: a training may log models of its own beside the one that it gives back.
    uri = tags.get(STORED) or (f"models:/{outputs[0].model_id}" if len(outputs) == 1 else "")
    if not uri:
        raise ProjectError(f"run {run.info.run_id} logged no model.", "Choose a run that finished: just runs")
    return str(uri)


def files_of_model(uri: str) -> dict[str, str]:
    """Give the digests of the files of a logged model, as the store has them."""
    import mlflow

    place = mlflow.get_logged_model(uri.rpartition("/")[2]).artifact_location
    if (path := tracking.local_path(place)) and path.is_dir():
        return files(path)
    with temporary_folder("record") as scratch:
        folder = scratch / "model"  # a download of a whole model is its destination, where the scratch has its lock
        folder.mkdir()
        return files(Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))))


def attempt(otherwise: str, act: Callable[[], object]) -> str:
    """Do what a result may not allow, such as to be stored or drawn; if so, tell, and give the reason."""
    try:
        act()
    except Exception as error:
        cause: Any = error.__cause__ or error
        why = f"{type(cause).__name__}: {cause}"
        terminal.notice(f"{otherwise}: {' '.join(why.split())[:500]}")
        return why
    return ""
