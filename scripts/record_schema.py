"""What a record holds, as a JSON Schema: keys and types are those that the harness reads, each with what it means."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from typing import Any

import harness

SHAPE = harness.load("record.shape")
VERSION: int = harness.load("record.schema").SCHEMA_VERSION
FILES = {
    "record.json": "What the run was made of and what came of it, with the digests of all other files.",
    "conf.yaml": "The settings, defaults filled in.",
    "constraints.txt": "The lock of the environment.",
    "uncommitted.patch": "The uncommitted work, where there was any; `uncommitted-1.patch` is of a nested repository.",
    "model.json": "The digest of every part of the model, by its path.",
    "predictions.parquet": "The predictions for the held-out rows.",
}
TAGS = {
    "repro.project": "The package.",
    "repro.step": "The step of the project; `train` where there is one.",
    "repro.seed": "The seed.",
    "repro.commit": "The commit.",
    "repro.dirty": "Whether there was uncommitted work: `true`, `false`, or `unknown` without git.",
    "repro.environment": "The digest of the lock.",
    "repro.data": "The digests of the datasets, as JSON.",
    "repro.inputs": "What it was given of other runs, as JSON.",
    "repro.image": "The ID of the image in which it ran.",
    "repro.record": "The digest of `record.json`.",
    "repro.result": "The digest of the result: weights, predictions, metrics and outputs.",
    "repro.model": "Where the stored model is.",
    "repro.model_not_stored": "Why there is none.",
    "repro.reproducible": "From where it could be reproduced when it ended: `anywhere`, `here` or `no`.",
    "repro.verdict": "What came of reproducing it.",
    "repro.verified_by": "The run that did.",
    "repro.verified_at": "When.",
    "repro.reproduces": "On the run that did: the original.",
    "repro.resumes": "The interrupted run that it went on from.",
    "repro.pipeline": "On a step that a pipeline did: the pipeline's run.",
    "repro.standing": "On the run of a pipeline: the run of each step, as JSON.",
    "repro.sweep": "On the run of a sweep, and on it alone.",
    "repro.best": "On the run of a sweep: the run of its best trial.",
    "repro.trial": "On a trial: its number.",
    "repro.point": "On a trial: its settings, as JSON.",
    "repro.failure": "On a trial that failed: why.",
    "repro.alive": "By which `just doctor` knows whether its process still lives.",
    "repro.stored_data": "On a run that only keeps a copy of a dataset: the digest.",
    "repro.stored_name": "On such a run: the dataset's name.",
}


def _also(**keys: Any) -> dict[str, Any]:
    """Name keys that a record has and nothing asks for."""
    return {name: (SHAPE.OPTIONAL, shape) for name, shape in keys.items()}


_CODE = _also(path=str, only_here=[str], refused=str)
#: What a record has for its reader alone, in the notation of `shape.RECORD`.
FOR_READERS: dict[str, Any] = {
    **_also(seeded={str: int}),
    "code": (1, {**_CODE, "repositories": (3, [{**_CODE, **_also(repositories=[object])}])}),
    "environment": (
        1,
        {
            **_also(as_locked=bool, kernel=str, cpu=str, cores=int | None, container={str: str}),
            "blas": (2, [_also(version=str | None, threads=int)]),
        },
    ),
    "data": (1, {str: _also(files=int, archive={str: object})}),
    "model": (2, {**_also(**{"class": str})}),
}
MEANINGS = {
    "schema": "The version of this schema.",
    "project": "The package.",
    "step": "The step of the project that the run did.",
    "given": "The digest of the conf as it was given, before defaults were filled in.",
    "code": "Which code ran.",
    "code.path": "Where the repository lies in the project; empty for the project's own.",
    "code.commit": "The commit, 40 or 64 hexadecimal digits; `none` outside git.",
    "code.dirty": "Whether there was uncommitted work: `true`, `false`, or `unknown` without git.",
    "code.tree": "git's hash of all files as they were, uncommitted work included.",
    "code.folder": "Where the project lies in its repository; empty at its top.",
    "code.remote": "Where the commit can be fetched from; empty where it was not pushed.",
    "code.branch": "The branch there.",
    "code.patch": "The digest of the patch that leads from the commit to the tree; empty without uncommitted work.",
    "code.left_out": "Files that are in neither commit nor patch: they look like secrets, or are large.",
    "code.left_out[].path": "The file.",
    "code.left_out[].why": "Why the record does not hold it.",
    "code.left_out[].digest": "Its digest.",
    "code.converted": "The digest of each file whose bytes are not those that git stores: line ends, Git LFS.",
    "code.only_here": "Why the run can be executed again only from this clone.",
    "code.refused": "Git's own message, where it refused to tell.",
    "code.modules": "The digest of each file of the project that was imported.",
    "code.repositories": "Submodules and clones in the project, each as the project itself.",
    "code.repositories[].repositories": "None: all stand in one list.",
    "seeded": "The generators that were seeded, each with its seed.",
    "launch": "The variables that were set before the interpreter started: hash seed, threads, the framework's.",
    "environment": "What decides the last bits, besides code, data and settings.",
    "environment.lock": "The digest of the lock.",
    "environment.as_locked": "Whether what was installed was what the lock says.",
    "environment.python": "The interpreter and its version.",
    "environment.machine": "The kind of processor.",
    "environment.kernel": "The operating system's kernel.",
    "environment.libc": "The C library.",
    "environment.cpu": "The processor's model.",
    "environment.cores": "The cores that the process was allowed.",
    "environment.cpu_features": "The features of the processor that NumPy uses.",
    "environment.gpu": "The name and driver of each GPU.",
    "environment.variables": "Variables by which numeric libraries choose their kernels.",
    "environment.packages": "The version of each package of the lock.",
    "environment.blas": "The libraries of linear algebra and threads that were loaded.",
    "environment.blas[].library": "Its name.",
    "environment.blas[].version": "Its version.",
    "environment.blas[].kernel": "The kernel that it chose for this processor.",
    "environment.blas[].threads": "Its threads.",
    "environment.precision": "Settings by which the framework computes with fewer bits, such as TF32.",
    "environment.container": "The image in which it ran: ID, base, engine, builder, digest of the contents.",
    "data": "The datasets that were read, by name.",
    "data.*.path": "Where it lies in the project.",
    "data.*.digest": "SHA-256 of the file; of a folder, of the list of its files.",
    "data.*.size": "In bytes.",
    "data.*.source": "Where it comes from.",
    "data.*.licence": "Under which it may be used.",
    "data.*.read": "How the text is written: separator, decimal character, encoding.",
    "data.*.files": "How many files a folder has.",
    "data.*.archive": "The archive from which a folder is unpacked.",
    "inputs": "What the conf asked for of other runs, by name.",
    "inputs.*.address": "The address in the conf.",
    "inputs.*.uri": "What that was when the run began.",
    "inputs.*.run": "The run that made it.",
    "inputs.*.digest": "Its digest.",
    "inputs.*.size": "In bytes.",
    "inputs.*.version": "Of a registered model, its version.",
    "outputs": "What later steps may ask for, by name: the digest of each file.",
    "model": "What the model is.",
    "model.kind": "By which a difference between two machines is judged: `convex`, `trees` or `other`.",
    "model.class": "Its class.",
    "model.files": "The digest of each file of the stored model.",
    "stages": "The digest of every stage, in the order in which the run made them.",
    "metrics": "The metrics as hexadecimal floats, which lose no bit.",
    "result": "The digest of weights, predictions, metrics and outputs.",
    "files": "The digest of every other file of the record.",
}
NAMES = {str: "string", int: "integer", bool: "boolean", types.NoneType: "null"}


def schema() -> dict[str, Any]:
    """Give the JSON Schema of the records that are written today."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The record of a run of a project made from copier-mlflow",
        **_schema_of(_merged(SHAPE.RECORD, FOR_READERS), ""),
    }


def text() -> str:
    """Give it as a file."""
    return json.dumps(schema(), indent=2) + "\n"


def _merged(shape: Any, more: Any) -> Any:
    """Put two shapes together."""
    if isinstance(shape, list):
        return [_merged(shape[0], more[0])]
    if not isinstance(shape, dict):
        return shape
    if str in shape:
        return {str: _merged(shape[str], more[str])}
    both = {
        name: (since, _merged(shape[name][1], inner)) if name in shape else (since, inner)
        for name, (since, inner) in more.items()
    }
    return {**shape, **both}


def _schema_of(shape: Any, path: str) -> dict[str, Any]:
    told = {"description": MEANINGS[_known(path)]} if _known(path) in MEANINGS else {}
    if isinstance(shape, list):
        return {**told, "type": "array", "items": _schema_of(shape[0], f"{path}[]")}
    if isinstance(shape, dict) and str in shape:
        return {**told, "type": "object", "additionalProperties": _schema_of(shape[str], f"{path}.*")}
    if isinstance(shape, dict):
        return {
            **told,
            "type": "object",
            "properties": {name: _schema_of(one, f"{path}.{name}".lstrip(".")) for name, (_, one) in shape.items()},
            "required": [name for name, (since, _) in shape.items() if since <= VERSION],
            "additionalProperties": path == "model" and {"type": "string"},  # an adapter may say more of its own
        }
    if shape is object:
        return told
    kinds = [NAMES[kind] for kind in getattr(shape, "__args__", (shape,))]
    return {**told, "type": kinds[0] if len(kinds) == 1 else kinds}


def _known(path: str) -> str:
    """Give the path under which a key is told: a repository in the project is as the project itself."""
    inner = path.replace("code.repositories[].", "code.")
    return inner if path not in MEANINGS and inner in MEANINGS else path


def rows() -> list[tuple[str, str, str, str]]:
    """Give a row for each key: its path, type, whether every record has it, and what it means."""
    return [*_rows(schema(), "")]


def _rows(part: dict[str, Any], path: str) -> Iterator[tuple[str, str, str, str]]:
    if "items" in part:
        yield from _rows(part["items"], f"{path}[]")
    elif "properties" in part:
        for name, one in part["properties"].items():
            key = f"{path}.{name}".lstrip(".")
            always = "" if name in part["required"] else "sometimes"
            yield f"`{key}`", _type(one), always, one.get("description", "")
            if key != "code.repositories":
                yield from _rows(one, key)
    elif isinstance(part.get("additionalProperties"), dict):
        yield from _rows(part["additionalProperties"], f"{path}.*")


def _type(part: dict[str, Any]) -> str:
    kind = part.get("type", "any")
    if kind == "array":
        return f"list of {_type(part['items'])}"
    if kind == "object" and "properties" not in part:
        return f"object of {_type(part['additionalProperties'])}"
    return kind if isinstance(kind, str) else " or ".join(kind)
