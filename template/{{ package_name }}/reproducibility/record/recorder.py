"""Write the record of a run, all that it takes to execute it again: parameters, tags, the artifact folder `record/`."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .. import conf
from ..common import digest, terminal
from ..common.project import PACKAGE
from ..common.scratch import temporary_folder
from ..datasets import copies, retrieval
from ..environment import check, lockfile
from ..randomness import launch
from ..source import capture, handed, imports, used_files
from . import description, fingerprint, metrics, outputs
from .schema import CONF, LOCK, PARTS, PREDICTIONS, RECORD, REPLAY, SCHEMA_VERSION, as_table, digest_of_result, files
from .stored_model import DIGESTS_ALONE, STORED, Kept, attempt, files_of_model

if TYPE_CHECKING:
    from ..datasets.manifest import Dataset
    from ..modeling.result import Result
    from .inputs import Input


class Recorder:
    """Collects what a run was made of, and logs it to the active MLflow run.

    Parameters
    ----------
    step : str
        The step of the project that it does.
    given : dict
        The conf as it was given, before defaults were filled in.
    settings : dict
        The resolved conf.
    seeded : dict of str to int
        The generators that were seeded.
    inputs : list of Input
        What it was given of other runs.
    """

    def __init__(
        self,
        step: str,
        given: dict[str, Any],
        settings: dict[str, Any],
        seeded: dict[str, int],
        inputs: list[Input],
    ) -> None:
        self.step = step
        self.given = digest.of_value(given)
        self.settings = settings
        self.seeded = seeded
        self.inputs = inputs
        self.code = handed.take() or capture.capture()
        # Read once: the file may change while the run goes on.
        self.lock_bytes = lockfile.RUNTIME_LOCK.read_bytes()
        self.lock = digest.of_bytes(self.lock_bytes)
        self.launch = launch.recorded(settings["seed"], settings["threads"])
        self.container = handed.container()
        self.tags = {
            "repro.seed": str(settings["seed"]),
            "repro.commit": self.code.commit,
            "repro.dirty": self.code.dirty,
            "repro.environment": self.lock,
            "repro.project": PACKAGE,
            "repro.step": step,
        }
        if inputs:
            self.tags["repro.inputs"] = json.dumps({given.name: given.uri for given in inputs})
        if self.container:
            self.tags["repro.image"] = self.container["container"]["image"]

    def start(self) -> None:
        """Log what is known before training: also a run that fails says what it was."""
        import mlflow

        mlflow.log_params(conf.flatten(self.settings))
        mlflow.set_tags(self._described(self.tags))

    def finish(self, result: Result, stages: dict[str, str], data: Mapping[str, Dataset]) -> str:
        """Log a result and the record, and give the digest of metrics, predictions and weights.

        The digests of the result are added to those of the stages so far.
        """
        import mlflow

        kept = Kept(result)
        kept.note(stages)
        if result.predictions is not None:
            stages["predictions"] = digest.of_value(result.predictions)
        values = metrics.exact(result.metrics)
        stages["metrics"] = digest.of_value(values)
        made = outputs.keep(result.outputs, stages) if getattr(result, "outputs", None) else {}
        outcome = digest_of_result(stages, made)
        run_id = mlflow.active_run().info.run_id
        metrics.log(run_id, values)
        for name, figure in result.figures.items() if DIGESTS_ALONE not in os.environ else ():
            attempt(f"the picture {name} is not kept", partial(_draw, name, figure))
        modules = used_files.settle(self.code, imports.taken())
        self.note_data(data.values())
        content = {
            "schema": SCHEMA_VERSION,
            "project": PACKAGE,
            "step": self.step,
            "given": self.given,
            "code": {**self.code.content(), "modules": modules},
            "seeded": self.seeded,
            "launch": self.launch,
            "environment": {
                "lock": self.lock,
                "as_locked": check.is_as_locked(),
                **fingerprint.take(),
                **self.container,
            },
            "data": {name: entry.entry() for name, entry in data.items()},
            "inputs": {given.name: given.entry() for given in self.inputs},
            "outputs": made,
            "stages": stages,
            "metrics": {name: value.hex() for name, value in values.items()},
            "result": outcome,
        }
        with temporary_folder("record") as scratch:
            folder = _folder(run_id, scratch)
            lock = folder / LOCK
            lock.write_bytes(self.lock_bytes)
            (folder / CONF).write_text(yaml.safe_dump(self.settings, sort_keys=False), "utf-8")
            for name, patch in self.code.patches().items():
                (folder / name).write_bytes(patch)
            if result.predictions is not None:
                attempt("the predictions are not kept", lambda: _keep(result.predictions, folder / PREDICTIONS))
            if kept.content:
                parts = json.dumps(kept.content.tree.named(), indent=0, ensure_ascii=False)
                (folder / PARTS).write_text(parts + "\n", "utf-8")
            model = kept.log(str(lock), self.code.commit, modules)
            content |= {
                "model": {**kept.kind(), "files": files_of_model(model[STORED]) if STORED in model else {}},
                "files": files(folder),
            }
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            # Bytes of a file's name that are no UTF-8 become escapes, which JSON reads as they were.
            (folder / RECORD).write_text(text, "utf-8", "backslashreplace")
            mlflow.log_artifacts(str(folder), "record")
            own = digest.of_file(folder / RECORD)
        tags = {
            **self.tags,  # once more: the training may have touched them
            "repro.dirty": self.code.dirty,  # the code may have been edited since
            "repro.data": json.dumps({name: entry.digest for name, entry in sorted(data.items())}),
            **model,
            "repro.record": own,
            "repro.result": outcome,
            "repro.reproducible": self._say_from_where(),
        }
        mlflow.set_tags(self._described(tags))
        return outcome

    def _described(self, tags: dict[str, str]) -> dict[str, str]:
        """Add to the tags of the run what MLflow's UI says of it; of a replay, who keeps it says that."""
        return tags if REPLAY in os.environ else tags | description.of_run(tags, self.code)

    def note_data(self, entries: Iterable[Dataset]) -> None:
        """Note the datasets of which only this folder has the bytes."""
        if REPLAY not in os.environ and self.code.commit != "none" and self.code.dirty != "unknown":
            self.code.only_here += map(_only_copy, filter(self._is_only_here, entries))

    def _is_only_here(self, entry: Dataset) -> bool:
        """Tell whether neither git nor the tracking store has a dataset, nor its source could give it."""
        if retrieval.is_remote(entry.source):
            return False
        entry = entry.packed or entry
        files = {entry.file / path: file.digest for path, file in entry.contents().items() if file.digest}
        files |= {entry.listing: entry.digest} if entry.files else {}
        if all(used_files.has(self.code, file, content) for file, content in files.items()):
            return False
        return copies.find(entry.digest) is None

    def _say_from_where(self) -> str:
        """Tell from where the run can be reproduced, and warn where that is not from everywhere."""
        if REPLAY in os.environ:  # its original has said so
            return self.code.reproducible
        if self.code.refused:
            terminal.notice(f"nobody can reproduce this run, since {self.code.refused}")
        elif self.code.commit == "none":
            start = 'git init && git add -A && git commit -m "Start"'
            terminal.notice(f"no git commit, so nobody can reproduce this run: {start}")
        for entry in self.code.left_out:
            terminal.notice(f"{entry['path']} is not in the record: {entry['why']}.")
        if self.code.left_out:
            terminal.notice("this run can be reproduced only where these files still are. Commit them.")
        for reason in self.code.all_only_here:
            if reason != capture.NO_REMOTE:
                terminal.notice(f"this run can be reproduced only from here: {reason}.")
        return self.code.reproducible


def _only_copy(entry: Dataset) -> str:
    return (
        f"dataset {entry.name!r}: neither git nor the tracking store has {entry.path}, and its source, {entry.source}, "
        f"cannot be fetched (just data-add {shlex.quote(entry.path)} --name {entry.name} keeps a copy; or --source URI)"
    )


def _folder(run_id: str, scratch: Path) -> Path:
    """Make the folder of the record, with what the training itself has logged to one of that name."""
    import mlflow

    client = mlflow.MlflowClient()
    # Asked for a path, MLflow searches the experiment for models of that name.
    if "record" in {artifact.path for artifact in client.list_artifacts(run_id)}:
        client.download_artifacts(run_id, "record", str(scratch))
    folder = scratch / "record"
    folder.mkdir(exist_ok=True)
    return folder


def _draw(name: str, figure: Any) -> None:
    import mlflow

    mlflow.log_figure(figure() if callable(figure) else figure, f"plots/{name}.png")


def _keep(predictions: Any, file: Path) -> None:
    part = file.with_suffix(".part")
    as_table(predictions).to_parquet(part, index=False)
    part.replace(file)
