"""JSON Schemas of the confs, by which editors complete and check them while somebody types."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from .. import conf
from ..common.files import write_whole
from ..common.project import ROOT

if TYPE_CHECKING:
    from pydantic import BaseModel

#: Beside the confs, which name the schema in their first line: `# yaml-language-server: $schema=.schema/train.json`.
FOLDER = ROOT / "confs" / ".schema"


def describe(name: str, model: type[BaseModel], is_step: bool = False) -> None:
    """Write the schema of a conf as its class is now, unless it is there already or cannot be written.

    Parameters
    ----------
    name : str
        Of the conf, without folder and ending.
    model : type of pydantic.BaseModel
        Its class.
    is_step : bool, default False
        Whether it is the conf of a step, which may name inputs: they are the harness's own, and not the class's.
    """
    file = FOLDER / f"{name}.json"
    with contextlib.suppress(Exception):  # a type that JSON has no word for, a folder that can only be read: no matter
        text = json.dumps(of_step(model) if is_step else model.model_json_schema(), indent=1) + "\n"
        if not file.exists() or file.read_text("utf-8") != text:
            FOLDER.mkdir(exist_ok=True)
            write_whole(file, text)


def of_step(model: type[BaseModel]) -> dict[str, Any]:
    """Give the JSON Schema of the conf of a step: that of its class, and the inputs."""
    found = model.model_json_schema()
    if not conf.declares_inputs(model):
        what = "What is taken of other runs, by name: step:NAME/PATH, runs:/RUN_ID/PATH or models:/NAME@ALIAS."
        found["properties"][conf.INPUTS] = {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": what,
        }
    return found
