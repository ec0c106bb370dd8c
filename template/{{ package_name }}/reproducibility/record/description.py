"""What MLflow's UI says of a run under Description: the verdict, what it was, and how to reproduce it.

It stands between two marks. What a person wrote before and after them stays, whenever that was. The UI shows the first
few lines of it until somebody asks for more.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..common.project import MAIN, PACKAGE
from ..store import tracking
from .stored_model import DIGESTS_ALONE

if TYPE_CHECKING:
    from ..source.snapshot import Source

#: MLflow's tag of what stands under Description.
NOTE = "mlflow.note.content"
BEGIN, END = "<!-- reproducibility -->", "<!-- /reproducibility -->"
#: The text between the marks that nearest each other; of others, somebody has edited one.
BLOCK = re.compile(f"{BEGIN}((?:(?!{BEGIN}).)*?){END}", re.DOTALL)
#: The page of a verdict, an artifact of the replay.
PAGE = "report.html"
#: So many bytes of a tag every store of MLflow's takes; it would cut what is longer.
LONGEST = 5000
#: So many datasets or inputs are named.
SHOWN = 4


def of_run(tags: Mapping[str, str], code: Source) -> dict[str, str]:
    """Describe the active run, as far as its tags go; a trial of a sweep that keeps no model has no description.

    Parameters
    ----------
    tags : Mapping of str to str
        What the run is tagged with; once it has a result, that is among them.
    code : Source
        Its code.

    Returns
    -------
    dict of str to str
        The tag to set, if any.
    """
    if DIGESTS_ALONE in os.environ:
        return {}
    run = _active()
    place = tags.get("repro.reproducible", "")
    paragraphs = [_lines(dict(_facts(tags, code)))]
    if "repro.result" not in tags:
        verdict = "none. The run goes on, or was cut off before it had a result."
    elif commands := "\n".join(_commands(place, run.info.run_id, code)):
        paragraphs.append(f"**Reproduce it**, {_where(place, code)}:\n\n```sh\n{commands}\n```")
        verdict = "not reproduced yet."
    else:
        verdict = f"nobody can reproduce it: {_where(place, code)}."
    return _amid(run.data.tags, verdict, *paragraphs)


def of_group(verdict: str, **facts: str) -> dict[str, str]:
    """Describe the active run, under which others stand.

    Parameters
    ----------
    verdict : str
        What is to be said of it so far.
    facts : str
        What it is, in Markdown.
    """
    return _amid(_active().data.tags, verdict, _lines(facts))


def of_replay(original: Any, verdict: str) -> dict[str, str]:
    """Describe the active run, which executed another one again."""
    run, replay = original.info, _active()
    of = link(f"run {run.run_id[:8]}", run.experiment_id, run.run_id)
    page = link(PAGE, replay.info.experiment_id, replay.info.run_id, PAGE)
    said = f"What the record of {of} says, executed again."
    return _amid(replay.data.tags, f"**{verdict}**, as {page} shows.", said)


def ended(status: str) -> None:
    """Say of the active run, where it is a training, that it was cut short."""
    import mlflow

    tags = _active().data.tags
    if "repro.step" in tags and DIGESTS_ALONE not in os.environ:
        mlflow.set_tags(judged(tags, f"none. The run is {status}, and has no result."))


def judged(tags: Mapping[str, str], verdict: str) -> dict[str, str]:
    """Say what came of a run, where its description has said what it is.

    Parameters
    ----------
    tags : Mapping of str to str
        Those of the run, as the store has them now.
    verdict : str
        In Markdown.

    Returns
    -------
    dict of str to str
        The tag to set, if any.
    """
    block = BLOCK.search(tags.get(NOTE, ""))
    _, *about = block[1].strip().split("\n\n", 1) if block else [""]
    return _amid(tags, verdict, *about)


def link(text: str, experiment_id: str, run_id: str, artifact: str = "") -> str:
    """Lead to a run, or to an artifact of it, in the UI that shows the text."""
    address = f"#/experiments/{experiment_id}/runs/{run_id}"
    return f"[{text}]({address}/artifacts/{artifact})" if artifact else f"[{text}]({address})"


def plain(text: str) -> str:
    """Make a text from elsewhere one that is neither markup nor a mark."""
    return html.escape(text, quote=False)


def _active() -> Any:
    """Ask the store for MLflow's active run, which people may have described meanwhile."""
    import mlflow

    return mlflow.get_run(mlflow.active_run().info.run_id)


def _amid(tags: Mapping[str, str], verdict: str, *about: str) -> dict[str, str]:
    """Put text between the marks, or after what a person wrote; where both are too long, as much as fits."""
    note = tags.get(NOTE, "")
    found = BLOCK.search(note)
    before, after = (note[: found.start()], note[found.end() :]) if found else (note and f"{note}\n\n", "")
    for paragraphs in (about, ()):
        text = "\n\n".join([f"**Verdict:** {verdict}", *paragraphs])
        whole = "\n".join([before + BEGIN, text, END + after])
        if len(whole.encode()) <= LONGEST:
            return {NOTE: whole}
    return {}


def _lines(facts: Mapping[str, str]) -> str:
    return "\n".join(f"**{name}:** {value}" for name, value in facts.items())


def _facts(tags: Mapping[str, str], code: Source) -> Iterator[tuple[str, str]]:
    """Name what a run was made of."""
    if tags["repro.step"] != MAIN:
        yield "Step", _code(tags["repro.step"])
    work = {"true": ", with uncommitted work, which the record holds", "false": ", nothing uncommitted"}
    yield "Commit", _code(code.commit[:10]) + work.get(code.dirty, "") if code.commit != "none" else code.commit
    for name, tag in {"Data": "repro.data", "Inputs": "repro.inputs"}.items():
        if found := json.loads(tags.get(tag, "{}")):
            shown = [f"{_code(key)} {_code(_short(value))}" for key, value in found.items()]
            yield name, ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
    yield "Seed", tags["repro.seed"]
    yield "Environment", f"`constraints.txt` {_code(_short(tags['repro.environment']))}"
    for name, tag in {"Image": "repro.image", "Result": "repro.result"}.items():
        if tag in tags:
            yield name, _code(_short(tags[tag]))


def _where(place: str, code: Source) -> str:
    """Say where a run can be reproduced, or why nowhere."""
    if place == "anywhere":
        return "on a machine with git, uv and just"
    why = [code.refused.partition("\n")[0] or "there is no git commit"] if code.commit == "none" else []
    why += [f"{entry['path']} is not in the record" for entry in code.left_out] + code.all_only_here
    return ("" if place == "no" else "in the folder that it ran in, as ") + plain("; ".join(why[:SHOWN]))


def _commands(place: str, run_id: str, code: Source) -> Iterator[str]:
    """Write down how a run is reproduced, from a bare machine where that can be."""
    database = tracking.database()
    if place == "anywhere":
        yield f"git clone {shlex.quote(code.remote)} {PACKAGE}"
        yield f"cd {shlex.quote(f'{PACKAGE}/{code.folder}'.rstrip('/'))}"
        yield f"git checkout {code.commit}"
        yield "just setup"
        if database:
            yield f"# its runs are files: bring {database.name}, mlruns/ of {database.parent} here, then: just relocate"
    if place != "no":
        store = shlex.quote(tracking.public(tracking.store_uri()))
        yield ("" if database else f"MLFLOW_TRACKING_URI={store} ") + f"just reproduce {run_id}"


def _short(value: str) -> str:
    """Shorten a digest to its first twelve digits."""
    return value[:19] if value.startswith("sha256:") else value


def _code(text: str) -> str:
    """Show a text as it is."""
    return f"`{text.replace('`', chr(39)).replace('<!--', '<! --')}`"
