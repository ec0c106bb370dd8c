"""What MLflow's UI says of a run under Description; and that what a person wrote there stays."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Project
from hypothesis import assume, given
from hypothesis import strategies as st
from test_locks import edit
from test_reproduce import SMALL, artifact, tags, train

import harness

description, snapshot = (harness.load(name) for name in ("record.description", "source.snapshot"))

NOTE, BEGIN, END = "mlflow.note.content", description.BEGIN, description.END
RUN = SimpleNamespace(experiment_id="1", run_id="a1" * 16)
TAGS = {
    "repro.step": "train",
    "repro.seed": "7",
    "repro.environment": f"sha256:{'e' * 64}",
    "repro.data": f'{{"bikes": "sha256:{"d" * 64}"}}',
    "repro.result": f"sha256:{'f' * 64}",
    "repro.reproducible": "anywhere",
}
#: What people write, marks of ours among it that they copied or broke.
TEXTS = st.lists(st.sampled_from(["Mine. ", "\n", "\n\n", "é`*_<b>", BEGIN, END, "**Verdict:** "]), max_size=8).map(
    "".join
)


def code(**known: Any) -> Any:
    """The code of a run at a commit that was pushed."""
    about = {"commit": "c0ffee" + "0" * 34, "dirty": "false", "remote": "https://example.com/team/bikes.git"}
    return snapshot.Source(Path(), **about | known)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The tags of the active run."""
    found: dict[str, str] = {}
    monkeypatch.setattr(description, "_active", lambda: SimpleNamespace(info=RUN, data=SimpleNamespace(tags=found)))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example.com")
    return found


def told(tags: Mapping[str, str] = TAGS, **known: Any) -> str:
    return str(description.of_run(tags, code(**known))[NOTE])


def test_a_run_says_what_it_was_and_how_to_reproduce_it_from_a_bare_machine(noted: dict[str, str]) -> None:
    text = told(folder="apps/bikes", dirty="true")
    assert text.startswith(f"{BEGIN}\n**Verdict:** not reproduced yet.\n") and text.endswith(END)
    assert "`c0ffee0000`, with uncommitted work, which the record holds" in text
    assert f"`bikes` `sha256:{'d' * 12}`" in text and f"`constraints.txt` `sha256:{'e' * 12}`" in text
    assert "**Seed:** 7" in text and "**Image:**" not in text and "secret" not in text
    [commands] = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    assert commands.splitlines() == [
        "git clone https://example.com/team/bikes.git {{ package_name }}",
        "cd '{{ package_name }}/apps/bikes'",
        f"git checkout {code().commit}",
        "just setup",
        f"MLFLOW_TRACKING_URI=https://mlflow.example.com just reproduce {RUN.run_id}",
    ]


def test_runs_that_are_files_have_to_be_brought_along(noted: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/bikes/mlflow.db")
    *_, files, last, _, _ = told().splitlines()
    assert files.startswith("# its runs are files: bring mlflow.db, mlruns/ of /srv/bikes here")
    assert last == f"just reproduce {RUN.run_id}"


def test_a_run_says_where_alone_it_can_be_reproduced_and_why(noted: dict[str, str]) -> None:
    here = told({**TAGS, "repro.reproducible": "here"}, remote="", only_here=["the repository has no remote"])
    assert "in the folder that it ran in, as the repository has no remote:" in here and "git clone" not in here
    nowhere = told({**TAGS, "repro.reproducible": "no"}, commit="none")
    assert "**Verdict:** nobody can reproduce it: there is no git commit." in nowhere and "```" not in nowhere


def test_a_run_without_a_result_says_so(noted: dict[str, str]) -> None:
    begun = {name: value for name, value in TAGS.items() if name not in ("repro.result", "repro.data")}
    text = told(begun)
    assert "**Verdict:** none. " in text and "c0ffee" in text and "just reproduce" not in text


def test_names_are_shown_as_they_are_and_are_no_marks(noted: dict[str, str]) -> None:
    text = told({**TAGS, "repro.data": f'{{"`{END}<b>": "sha256:1"}}', "repro.step": f"{BEGIN}"})
    assert description.BLOCK.fullmatch(text) and text.count(BEGIN) == text.count(END) == 1
    many = told({**TAGS, "repro.data": json.dumps({f"d{n}": f"sha256:{n}" for n in range(9)})})
    assert "`d3` `sha256:3` and 5 more" in many


def test_a_trial_that_keeps_its_digests_alone_says_nothing(
    noted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_DIGESTS_ALONE", "true")
    assert description.of_run(TAGS, code()) == {}


@given(TEXTS, TEXTS)
def test_what_a_person_wrote_stays_byte_for_byte(before: str, after: str) -> None:
    assume(not description.BLOCK.search(before) and not description.BLOCK.search(after))  # a whole one is ours
    assert description.judged({NOTE: before}, "not reproduced yet.")[NOTE].startswith(before)
    ours = f"{BEGIN}\n**Verdict:** none.\n\n**Commit:** `c0ffee`\n\n```sh\n\njust\n```\n{END}"
    later = description.judged({NOTE: before + ours + after}, "**identical**")[NOTE]
    assert later == before + ours.replace("none.", "**identical**") + after
    assert description.judged({NOTE: later}, "none.")[NOTE] == before + ours + after


def test_a_long_text_of_a_person_is_not_cut() -> None:
    room = {length: description.judged({NOTE: "é" * (length // 2)}, "**identical**") for length in (4800, 4990)}
    assert room[4800][NOTE].startswith("é" * 2400 + f"\n\n{BEGIN}") and room[4990] == {}
    ours = f"{BEGIN}\n**Verdict:** none.\n\n{'x' * 300}\n{END}"
    assert "xxx" not in description.judged({NOTE: "é" * 2350 + ours}, "**identical**" + "y" * 20)[NOTE]


@pytest.mark.e2e
def test_a_description_from_the_training_to_the_verdict(project: Project) -> None:
    source = project.path / "bikes" / "train.py"
    edit(
        source,
        r"^    table = ",
        '    import mlflow; mlflow.set_tag("mlflow.note.content", "Of the training.")\n    table = ',
    )
    run_id = train(project)
    note = tags(project, run_id)[NOTE]
    assert note.startswith(f"Of the training.\n\n{BEGIN}\n**Verdict:** not reproduced yet.\n")
    assert project.git("rev-parse", "HEAD")[:10] in note and "with uncommitted work" in note
    assert f"\njust reproduce {run_id}\n" in note and "the repository has no remote" in note
    project.client().set_tag(run_id, NOTE, f"Above.\n{note}\n\nBelow.")
    project.just("reproduce", run_id)
    judged, replay = tags(project, run_id), project.runs()[0].info
    assert judged[NOTE].startswith("Above.\nOf the training.") and judged[NOTE].endswith(f"{END}\n\nBelow.")
    assert "**Verdict:** **identical** (" in judged[NOTE] and "not reproduced yet" not in judged[NOTE]
    assert f"(#/experiments/{replay.experiment_id}/runs/{replay.run_id}/artifacts/report.html)" in judged[NOTE]
    assert artifact(project, replay.run_id, "report.html").exists()
    assert f"/runs/{run_id})" in tags(project, replay.run_id)[NOTE], "the replay leads to its original"

    edit(source, r"^    table = ", "    raise RuntimeError\n    table = ")
    assert project.just("train", *SMALL, check=False).returncode == 3
    failed = project.runs()[0]
    assert failed.info.status == "FAILED"
    assert failed.data.tags[NOTE].startswith(f"Of the training.\n\n{BEGIN}\n**Verdict:** none. The run is FAILED")
    edit(source, r"^    import mlflow; .*\n", "")
    project.just("train", *SMALL, check=False)
    assert re.search("run is FAILED.*Commit.*Seed", project.runs()[0].data.tags[NOTE], re.DOTALL)
    assert project.just("reproduce", project.runs()[0].info.run_id, check=False).returncode == 2
    refused = project.runs()[0].data.tags[NOTE]
    assert "**Verdict:** **not reproducible** (" in refused and "has no record" in refused and "Commit" in refused
