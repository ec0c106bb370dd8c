"""The site: it builds, its links lead somewhere, its reference is whole, and its pages are followed to the letter."""

from __future__ import annotations

import copy
import html.parser
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import jsonschema
import numpy as np
import pages
import pandas as pd
import pytest
import yaml
from conftest import FRAMEWORKS, QUESTIONS, TEMPLATE, Project, clone, copy_project, importing
from pydantic import BaseModel
from records import write_record
from tables_of_animals import penguins
from test_ci import validate
from test_docs import throw_away_pip
from test_images import draw
from test_render import NETWORKS

import harness
import record_schema

DOCS = TEMPLATE / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
#: Not `--quiet`: it would not see its own warnings, and call the site well.
MKDOCS = [sys.executable, "-m", "mkdocs", "build", "--site-dir"]


# --- The build ----------------------------------------------------------------
@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `just docs` does."""
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run([*MKDOCS, str(folder)], cwd=TEMPLATE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("link", ["no-such-page.md", "tutorial.md#no-such-part"])
def test_a_link_that_leads_nowhere_fails_the_build(link: str, tmp_path: Path) -> None:
    for name in ("mkdocs.yml", "scripts", "template", "copier.yml", "copier_mlflow"):
        (tmp_path / name).symlink_to(TEMPLATE / name)
    for page in PAGES:
        (tmp_path / "docs" / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / page).write_text((DOCS / page).read_text("utf-8"), "utf-8")
    for file in [*DOCS.glob("*.png"), *DOCS.glob("*.css")]:
        (tmp_path / "docs" / file.name).symlink_to(file)
    with (tmp_path / "docs" / "index.md").open("a") as file:
        file.write(f"\n[Planted]({link})\n")
    done = subprocess.run([*MKDOCS, str(tmp_path / "site")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert link in done.stderr and "1 warnings in strict mode" in done.stdout + done.stderr


class Page(html.parser.HTMLParser):
    """What a page of the site links to, loads, and can be linked to by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        self.anchors |= {told[name] or "" for name in ("id", "name") if name in told}
        if tag == "a":
            self.links.append(told.get("href") or "")
        elif tag == "link":
            self.loads.append(told.get("href") or "")
        self.loads.append(told.get("src") or "")


def test_every_link_and_anchor_leads_somewhere_and_nothing_comes_from_elsewhere(site: Path) -> None:
    found = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(found) >= len(PAGES)
    for path, page in found.items():
        assert [one for one in page.loads if urlsplit(one).netloc] == [], f"{path} loads what is elsewhere"
        for link in {*page.links, *page.loads} - {""}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = place / "index.html" if place.is_dir() else place
            assert place.exists(), f"{path}: {link}"
            assert not parts.fragment or unquote(parts.fragment) in found[place].anchors, f"{path}: {link}"


def test_every_block_is_one_in_the_site_too(site: Path) -> None:
    """What reads fences there is not what reads them here."""
    for page in PAGES:
        text = (site / page.replace("README", "index")).with_suffix(".html").read_text("utf-8")
        assert "```" not in text and "skip=" not in text, page


def test_links_in_pages_that_github_shows_lead_to_files() -> None:
    for page in (TEMPLATE / name for name in ("README.md", "CONTRIBUTING.md")):
        links = re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8"))
        inner = [link for link in links if not urlsplit(link).scheme]
        assert inner and [link for link in inner if not (TEMPLATE / link.partition("#")[0]).exists()] == []


def test_the_readme_is_one_screen_of_promise_and_one_of_start() -> None:
    promise, start = (TEMPLATE / "README.md").read_text("utf-8").split("\n## Start a project\n")
    assert max(len(promise.splitlines()), len(start.splitlines())) <= 45


# --- The reference ------------------------------------------------------------
def text_of(site: Path, name: str) -> str:
    """Read a page of the reference, without its markup and what stands around it."""
    text = (site / "reference" / f"{name}.html").read_text("utf-8").partition("<article")[2]
    return html.unescape(re.sub("<[^>]+>", "", text))


def shown(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Walk through the commands that are shown."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            if not inner.hidden:
                yield from shown(inner, f"{name} {inner.name}".strip())
    else:
        yield name, command


def test_every_command_option_and_recipe_is_in_the_reference(site: Path) -> None:
    text = text_of(site, "cli")
    commands = dict(shown(harness.load("cli.main").cli, ""))
    assert len(commands) > 25
    for name, command in commands.items():
        assert f"Usage: python -m PACKAGE {name} " in text
        for parameter in command.params:
            assert all(option in text for option in (*parameter.opts, *parameter.secondary_opts) if option[0] == "-")
    listed = subprocess.run(
        ["just", "--summary", "--justfile", "template/justfile"], cwd=TEMPLATE, capture_output=True, text=True
    )
    recipes = listed.stdout.split()
    assert len(recipes) > 40 and [name for name in recipes if f"just {name}\n" not in text] == []
    entries = yaml.safe_load((TEMPLATE / "template/MLproject.jinja").read_text().replace("{{ package_name }}", "x"))
    assert [name for name in entries["entry_points"] if f"\n{name}\n" not in text] == []


def test_every_command_of_the_updater_is_in_the_reference(site: Path) -> None:
    from copier_mlflow import cli

    text = text_of(site, "updater")
    for name, _ in shown(cli.commands, "copier-mlflow"):
        assert f"Usage: {name} " in text


def test_every_exit_code_and_verdict_is_in_the_reference(site: Path) -> None:
    module, text = harness.load("common.exit_codes"), text_of(site, "exit-codes")
    codes = {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int)}
    assert {"FAILED", "USAGE", "FAULT", "INTERRUPTED"} <= codes.keys()
    assert [name for name, code in codes.items() if name not in text or f"{code}" not in text] == []
    for verdict, code in module.EXIT_CODES.items():
        assert re.search(rf"{verdict}\s+{code}\s", text)


def settings_of(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_of(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


KINDS = [*((name, "classification") for name in FRAMEWORKS), *((name, "images") for name in NETWORKS)]


#: One of tables and one of images are enough for `just test-fast`.
@pytest.mark.parametrize(
    ("framework", "task"),
    [pytest.param(*kind, marks=[] if kind in (KINDS[0], KINDS[-1]) else [pytest.mark.e2e]) for kind in KINDS],
)
def test_every_setting_is_in_the_reference_with_its_default(
    framework: str, task: str, site: Path, tmp_path: Path
) -> None:
    tables, _, images = text_of(site, "conf").partition("\nOf a project on images")
    text = images if task == "images" else tables
    package = f"set_by_{framework.replace('-', '_')}_{task}"
    with importing(tmp_path / "bikes", package, framework=framework, task=task):
        schema = importlib.import_module(f"{package}.settings").Settings
    keys = [*settings_of(schema)]
    assert len(keys) > 10 and [key for key in keys if f"\n{key}\n" not in text] == []
    conf = harness.load("conf")
    defaults = conf.flatten(
        schema.model_validate(conf.load(tmp_path / "bikes" / "confs" / "train.yaml")).model_dump(mode="json")
    )
    assert {key.removeprefix("conf.") for key in defaults} == {*keys}
    for key, value in defaults.items():
        cells = re.findall(rf"\n{key.removeprefix('conf.')}\n(.+)\n", text)
        assert value in [yaml.safe_load(one) for cell in cells for one in cell.split(" or ")], key


def test_every_setting_of_a_sweep_is_in_the_reference_with_what_it_means(site: Path) -> None:
    definition, cluster = harness.load("sweeps.definition"), harness.load("engines.cluster")
    text = text_of(site, "sweep")
    for schema in (definition.Sweep, definition.Dimension, definition.Stop, cluster.Slurm):
        for name, field in schema.model_fields.items():
            assert f"\n{name}\n" in text and field.description and field.description in text, name


def test_every_key_of_a_dataset_is_in_the_reference(site: Path) -> None:
    manifest, text = harness.load("datasets.manifest"), text_of(site, "datasets")
    archive = {"path": "data/t.zip", "digest": "sha256:z", "size": 3}
    whole = manifest.Dataset("t", "data/t", "sha256:d", 1, read={"sep": ";"}, files=2, archive=archive)
    assert [key for key in whole.entry() if f"\n{key}\n" not in text] == []
    assert [key for key in harness.load("datasets.tables").OPTIONS if f"\n{key}\n" not in text] == []


def test_every_question_variable_and_name_of_the_harness_is_in_the_reference(site: Path, tmp_path: Path) -> None:
    asked = [name for name, question in QUESTIONS.items() if question.get("when") is not False]
    assert [name for name in asked if f"\n{name}\n" not in text_of(site, "questions")] == []
    text = text_of(site, "environment")
    with importing(tmp_path / "local", "named_by_all"):
        public = importlib.import_module("named_by_all.reproducibility").__all__
    assert [name for name in public if name not in text_of(site, "api")] == []
    for tracking in ("server", "databricks"):
        copy_project(tmp_path / tracking, tracking=tracking)
    for folder in tmp_path.iterdir():
        names = re.findall(r"(?m)^#(\w+)=", (folder / ".env.example").read_text("utf-8"))
        assert names and [name for name in names if name not in text] == []
    told = re.findall(r"(?m)^#?(\w+)=", harness.load("tracking_server.settings").TEXT)
    assert told and [name for name in told if name not in text] == []
    assert [name for name in harness.load("record.fingerprint").VARIABLES if name not in text] == []
    assert [name for name in harness.load("randomness.launch").variables(0, 1) if name not in text] == []


# --- The record ---------------------------------------------------------------
def objects(part: dict[str, Any], content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Give the place of each object of a record, with the part of the schema that it is held to."""
    if isinstance(content, dict):
        yield path, part
        for name, value in content.items():
            below = part.get("properties", {}).get(name) or part["additionalProperties"]
            yield from objects(below, value, (*path, name)) if isinstance(below, dict) else ()
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from objects(part["items"], value, (*path, number))


def at(content: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        content = content[step]
    return content


def test_the_schema_of_a_record_is_one_and_refuses_what_is_missing_added_or_of_another_type(tmp_path: Path) -> None:
    schema = record_schema.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    held = jsonschema.Draft202012Validator(schema)
    write_record(tmp_path / "record", {"MLmodel": "sha256:f"})
    record = json.loads((tmp_path / "record" / "record.json").read_text("utf-8"))
    held.validate(record)
    tried = 0
    for path, part in objects(schema, record):
        for name in part.get("required", []):
            broken = copy.deepcopy(record)
            del at(broken, path)[name]
            assert not held.is_valid(broken), (*path, name)
            broken = copy.deepcopy(record)
            at(broken, path)[name] = 0.5
            assert not held.is_valid(broken), (*path, name)
            tried += 1
        if part.get("additionalProperties") is False:
            broken = copy.deepcopy(record)
            at(broken, path)["planted"] = "x"
            assert not held.is_valid(broken), path
            tried += 1
    assert tried > 60


def test_every_key_of_a_record_has_a_meaning_and_none_is_told_of_that_is_not_there() -> None:
    rows = record_schema.rows()
    assert [key for key, *_, told in rows if not told] == []
    listed = {key.strip("`") for key, *_ in rows}
    assert {key for key in record_schema.MEANINGS if not key.startswith("code.repositories[]")} - listed == set()


def test_the_schema_stands_in_the_site(site: Path) -> None:
    assert json.loads((site / "reference/record.schema.json").read_text("utf-8")) == record_schema.schema()


def hold_records(project: Project) -> None:
    """Hold the records and tags of real runs to what the reference says of them."""
    held = jsonschema.Draft202012Validator(record_schema.schema())
    found = [*(project.path / "mlruns").rglob("record/record.json")]
    assert found
    for path in found:
        held.validate(json.loads(path.read_text("utf-8")))
        assert {one.name for one in path.parent.iterdir()} <= record_schema.FILES.keys()
    tags = {name for run in project.runs() for name in run.data.tags if name.startswith("repro.")}
    assert tags - record_schema.TAGS.keys() == set()


# --- The pages ----------------------------------------------------------------
#: Those on which a reader makes the project, beside a clone of the template.
BARE = {"tutorial.md", "how-to/start.md", "how-to/update.md", "how-to/fleet.md"}


def churn(folder: Path) -> None:
    """Write a table with texts, dates, gaps and three classes."""
    names = {"nest_id": "customer_id", "seen": "cancelled_on", "species": "churned"}
    penguins().rename(columns=names).to_csv(folder / "churn.csv", index=False)


def scores(folder: Path) -> None:
    """Write a table of hours of work and sleep, and of who passed."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"hours": rng.normal(5, 2, 300), "sleep": rng.normal(7, 1, 300)})
    table["passed"] = np.where(table.sum(axis=1) + rng.normal(0, 1, 300) > 12, "yes", "no")
    table.to_csv(folder / "scores.csv", index=False)


#: What a page takes for granted that lies beside the project.
BESIDE: dict[str, Callable[[Path], None]] = {
    "how-to/own-data.md": churn,
    "how-to/existing-project.md": scores,
    "how-to/images.md": lambda folder: draw(folder / "flowers"),
}
#: Pages on projects with a network, by their task.
NETWORK = {"how-to/images.md": "images", "how-to/long-trainings.md": "classification"}
#: Of the pages that are followed, those of `just test`, beside the tutorial. What stands on the others, it types by the
#: READMEs, and in the tests of each subject.
EVERY_TIME = {"how-to/reproduce.md", "how-to/update.md"}


def page_text(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def clone_template(folder: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(TEMPLATE), str(folder / "copier-mlflow")], check=True)


def follow(page: str, project: Project, **variables: str) -> str:
    """Do what a page says, to the letter; what it shows must be printed."""
    text = page_text(page)
    output = project.run("bash", "-euo", "pipefail", "-c", pages.script(text), **variables).stdout
    require_printed(text, output)
    return output


def require_printed(text: str, output: str) -> None:
    """Hold what a page shows to an output, but for digits and for what an ellipsis stands for."""
    printed = {plain(line) for line in output.splitlines()}
    for line in (line for block in pages.blocks(text) if block.language == "text" for line in block.body.splitlines()):
        begin, more, _ = plain(line).partition("…")
        assert any(one.startswith(begin) if more else one == begin for one in printed), f"{line!r} is not in:\n{output}"


def plain(line: str) -> str:
    """Give a line of output without what differs from machine to machine: digits, digests, how wide columns are."""
    return re.sub(r"\b[0-9a-f]{8,}\b|\d[\d.]*", "0", " ".join(line.split()))


FOLLOWED = [page for page in PAGES if pages.script(page_text(page))]


def each(pages: Iterable[str]) -> pytest.MarkDecorator:
    """Hold a test for each page."""
    slow = pytest.mark.slow
    return pytest.mark.parametrize("page", [pytest.param(p, marks=() if p in EVERY_TIME else slow) for p in pages])


@pytest.mark.e2e
@each(page for page in FOLLOWED if page not in BARE)
def test_a_page_is_followed_in_a_project(page: str, set_up: Callable[..., Project], tmp_path: Path) -> None:
    answers = (NETWORK[page], "pytorch") if page in NETWORK else ("classification",)
    project = clone(set_up(*answers), tmp_path / "bikes")
    BESIDE.get(page, lambda folder: None)(tmp_path)
    follow(page, project)
    if (project.path / "mlflow.db").exists():
        assert {run.info.status for run in project.runs()} <= {"FINISHED", "FAILED"}
        hold_records(project)


@pytest.mark.e2e
@each(sorted(BARE - {"tutorial.md"}))
def test_a_page_is_followed_in_a_bare_folder(page: str, tmp_path: Path) -> None:
    clone_template(tmp_path)
    follow(page, Project(tmp_path))
    assert (tmp_path / "bikes" / "justfile").exists()


@pytest.mark.e2e
def test_the_tutorial_leads_from_a_bare_folder_to_its_verdict(tmp_path: Path) -> None:
    clone_template(tmp_path)
    machine = throw_away_pip(tmp_path / "pip")
    bin = tmp_path / "pip" / "bin"
    told = follow(
        "tutorial.md", Project(tmp_path), **machine, UV_TOOL_DIR=str(tmp_path / "tools"), UV_TOOL_BIN_DIR=str(bin)
    )
    assert told.count("bikes: all well.") == 1
    assert "identical: every stage is equal to the last bit." in told
    project = Project(tmp_path / "bikes")
    replay, changed, again, first = project.runs()
    assert first.data.tags["repro.result"] == again.data.tags["repro.result"] != changed.data.tags["repro.result"]
    assert changed.data.tags["repro.dirty"] == "true" and changed.data.tags["repro.verdict"] == "identical"
    assert replay.data.tags["repro.reproduces"] == changed.info.run_id
    assert project.git("status", "--porcelain") == ""
    hold_records(project)


def test_what_a_page_leaves_to_another_test_is_done_by_one() -> None:
    skipped = {block.skip for page in PAGES for block in pages.blocks(page_text(page)) if block.skip}
    assert skipped == {
        "changes the project; tests/test_template_update.py does it",
        "needs a cluster; tests/test_sweep_clusters.py runs it on two hosts",
        "needs a cluster; tests/test_sweep_clusters.py runs it on two nodes of a real Slurm",
        "needs a container engine; tests/test_tracking_server.py runs it",
        "needs a registry; tests/test_image.py pushes to one",
        "needs a remote that takes pull requests; tests/test_template_update.py proposes to one",
        "needs a run that was interrupted; tests/test_frameworks.py kills one",
        "needs docker or podman; tests/test_container_runs.py runs it",
        "needs nothing but docker; tests/test_container_runs.py runs it",
        "needs the template's repository; tests/test_template_update.py changes answers",
        "takes five minutes; tests/test_selftest.py runs it",
    }
    for reason in skipped:
        assert (TEMPLATE / re.findall(r"tests/\w+\.py", reason)[0]).exists(), reason


def typed(text: str) -> set[str]:
    """Give the commands of the blocks of a page, without what is said of them."""
    bodies = (block.body for block in pages.blocks(text) if block.language == "bash")
    return {line.partition(" #")[0].strip() for body in bodies for line in body.splitlines()}


def test_what_needs_an_engine_or_a_cluster_is_typed_as_by_the_guide_that_tests_follow(tmp_path: Path) -> None:
    """The README of a project has the same commands, and the tests that have engines take them from there."""
    guide = typed((copy_project(tmp_path / "bikes", tracking="server") / "README.md").read_text("utf-8"))
    own = {f"how-to/{name}.md": typed(page_text(f"how-to/{name}.md")) for name in ("clusters", "containers")}
    own["how-to/tracking-server.md"] = typed(page_text("how-to/tracking-server.md"))
    assert {page: commands - guide for page, commands in own.items()} == {
        "how-to/clusters.md": set(),
        "how-to/containers.md": {
            "just image",
            "just image-verify",
            "just image --push registry.example.com/team/bikes",
        },
        "how-to/tracking-server.md": {
            "just template-update --data tracking=server --data tracking_uri=https://mlflow.example.com"
        },
    }


def test_every_page_is_known() -> None:
    assert BARE | BESIDE.keys() | NETWORK.keys() | EVERY_TIME <= {*FOLLOWED}


@pytest.mark.parametrize("text", ["```bash\nfalse\n```\n", '```diff title="f"\n-two\n+three\n```\n'])
def test_a_page_that_is_not_true_is_noticed(text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("one\n")
    script = pages.script(f'```text title="g"\nnew\n```\n{text}')
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and (tmp_path / "g").read_text() == "new\n"


def test_what_a_page_shows_and_nothing_prints_is_noticed() -> None:
    page = "```text\nrun 1f2e3d4c5b  of 12\n…\nleft: …\n```\n"
    require_printed(page, "run 0a9b8c7d6e of 99\nleft: a line\n")
    for output in ("run 0a9b8c7d6e of 99\n", "run 0a9b8c7d6e of 99 more\nleft: a line\n"):
        with pytest.raises(AssertionError, match="is not in"):
            require_printed(page, output)


# --- The workflow -------------------------------------------------------------
WORKFLOW = TEMPLATE / ".github" / "workflows" / "pages.yml"


def test_the_workflow_is_started_by_hand_may_do_little_and_runs_only_pinned_actions() -> None:
    done = validate(WORKFLOW, "github")
    assert done.returncode == 0, done.stdout
    text = WORKFLOW.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert set(workflow[True]) == {"workflow_dispatch"}  # YAML 1.1 reads the key `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    build, deploy = workflow["jobs"]["build"], workflow["jobs"]["deploy"]
    assert "permissions" not in build and deploy["permissions"] == {"pages": "write", "id-token": "write"}
    used = [step for job in (build, deploy) for step in job["steps"] if "uses" in step]
    names = ("checkout", "upload-pages-artifact", "deploy-pages")
    assert [step["uses"].partition("@")[0] for step in used] == [f"actions/{name}" for name in names]
    assert used[0]["with"] == {"persist-credentials": False}
    for step in used:
        assert re.search(rf"uses: {re.escape(step['uses'])} # v\d+\.\d+\.\d+$", text, re.MULTILINE)
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


def test_the_workflow_installs_the_tools_of_rendered_projects_and_builds_what_it_uploads(tmp_path: Path) -> None:
    steps = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["build"]["steps"]
    install, build = (step["run"] for step in steps if "run" in step)
    theirs = (copy_project(tmp_path / "bikes") / ".github/workflows/ci.yml").read_text("utf-8")
    assert install == next(s["run"] for s in yaml.safe_load(theirs)["jobs"]["ci"]["steps"] if "pip" in s.get("run", ""))
    dry = subprocess.run(["just", "--dry-run", *build.split()[1:]], cwd=TEMPLATE, capture_output=True, text=True)
    assert "mkdocs build" in dry.stderr
    [upload] = (step["with"]["path"] for step in steps if "upload" in step.get("uses", ""))
    assert f"/{upload}/" in (TEMPLATE / ".gitignore").read_text().split()
