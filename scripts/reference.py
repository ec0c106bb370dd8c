"""The reference of the site, made of the code while MkDocs builds it; mkdocs.yml names this module as a hook."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import jinja2
import yaml
from pydantic import BaseModel

import harness
import record_schema

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
FRAMEWORKS: dict[str, str] = {
    value: label.partition(" (")[0] for label, value in QUESTIONS["framework"]["choices"].items()
}
SCHEMA = "reference/record.schema.json"


# --- What MkDocs calls --------------------------------------------------------
def on_files(files: Any, config: Any) -> Any:
    """Add the pages, and the schema of a record, to the files of the site."""
    from mkdocs.structure.files import File

    for path, content in {**{path: make() for path, make in PAGES.items()}, SCHEMA: record_schema.text()}.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put what follows from files of the repository where a page asks for it."""
    return markdown.replace("<!-- every decision -->", decisions())


def decisions() -> str:
    """List the decisions by their titles."""
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    titles = ((page.name, page.read_text("utf-8").partition("\n")[0].lstrip("# ")) for page in pages)
    return "\n".join(f"- [{title}]({name})" for name, title in titles)


# --- Questions and settings ---------------------------------------------------
def questions() -> str:
    """Write the questions of copier.yml."""
    asked = {name: one for name, one in QUESTIONS.items() if name[0] != "_" and one.get("when") is not False}
    rows = [(f"`{name}`", one["help"], _default(one), _choices(one)) for name, one in asked.items()]
    return page(
        "Questions of the template",
        "`copier copy` asks them. `--defaults` takes every default, `-d NAME=VALUE` answers ahead. The answers stand "
        "in `.copier-answers.yml`; `just template-update --data NAME=VALUE` changes one later.",
        table(("question", "", "default", "answers"), rows),
    )


def _default(question: Mapping[str, Any]) -> str:
    default = question["default"]
    if isinstance(default, str) and "{" in default:
        return "the folder's name" if "_folder_name" in default else "follows from other answers"
    return code(default) if default != "" else "empty"


def _choices(question: Mapping[str, Any]) -> str:
    values = (value["value"] if isinstance(value, dict) else value for value in question.get("choices", {}).values())
    return ", ".join(map(code, values))


def conf() -> str:
    """Write the settings of a run: those that all frameworks share, and those of each."""
    parts = []
    for what, tasks in {"tables": ("classification", "regression"), "images": ("images",)}.items():
        every = {name: _settings(name, tasks) for name in FRAMEWORKS if _settings_file(name, tasks[0])}
        first, *others = every.values()
        shared = [row for row in first if all(row in other for other in others)]
        parts += [f"## Of a project on {what}", "### With any framework", table(CONF_HEAD, shared)]
        for name, rows in every.items():
            parts += [f"### With {FRAMEWORKS[name]}, besides", table(CONF_HEAD, [r for r in rows if r not in shared])]
    return page(
        "Settings of a run",
        "The keys of `confs/train.yaml`, as `settings.py` declares them: both files are yours, and a key that you add "
        "to one is added to the other. `just train --set KEY=VALUE` overrides one for a run; `section.key` names a key "
        "in a section. Every setting is a parameter `conf.KEY` of the run, and a misspelt one is an error. Defaults "
        "are those of a new project; two are those of classification and of regression.",
        *parts,
        "## Of the steps before a training",
        "A step's conf is `confs/NAME.yaml`, and its class stands in its module. Any conf may have `inputs:`, by which "
        "a step is given what another run made: see [Work in several steps](../how-to/steps.md).",
    )


CONF_HEAD = ("key", "default", "allowed", "meaning")


def _settings(framework: str, tasks: Iterable[str]) -> list[tuple[str, ...]]:
    """Give a row for each setting of a framework, with the defaults of every task."""
    tasks = tuple(tasks)
    schema = _load(_settings_file(framework, tasks[0])).Settings
    whole = (schema.model_validate(_conf(framework, task)).model_dump(mode="json") for task in tasks)
    defaults = [*map(harness.load("conf").flatten, whole)]
    return [
        (f"`{key}`", " or ".join(dict.fromkeys(code(default[f"conf.{key}"]) for default in defaults)), *told)
        for key, *told in keys_of(schema)
    ]


def _settings_file(framework: str, task: str) -> Path | None:
    """Find the `settings.py` of a framework for a task; none where it has no such task."""
    images = f"task {'==' if task == 'images' else '!='} 'images'"
    folder = ROOT / "template" / f"{{{{ '.' if framework == '{framework}' }}}}"
    own, special = folder / "{{ package_name }}", folder / f"{{{{ '.' if {images} }}}}" / "{{ package_name }}"
    found = [place / "settings.py" for place in (own, special) if (place / "settings.py").exists()]
    return found[0] if found and (task != "images" or special.exists()) else None


def _load(file: Path | None) -> types.ModuleType:
    assert file
    spec = importlib.util.spec_from_file_location("settings_of_the_template", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks for what its annotations name
    spec.loader.exec_module(module)
    return module


def _conf(framework: str, task: str) -> dict[str, Any]:
    """Render `confs/train.yaml` as a new project has it."""
    text = (ROOT / "template" / "confs" / "train.yaml.jinja").read_text("utf-8")
    answers = {"framework": framework, "task": task, "seed": QUESTIONS["seed"]["default"]}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    found: dict[str, Any] = yaml.safe_load(environment.from_string(text).render(answers))
    return found


def keys_of(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Give each key of a class of settings, those of its sections by `section.key`: allowed values and meaning."""
    told = schema.model_json_schema()["properties"]
    for name, field in schema.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from keys_of(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", allowed(told[name]), field.description or ""


def allowed(told: Mapping[str, Any]) -> str:
    """Say in words which values a JSON Schema of one setting allows."""
    if "anyOf" in told:
        names = [*map(allowed, told["anyOf"])]
        return " or ".join(name for name in names if name != "whole number" or "number" not in names)
    if values := told.get("enum", [told["const"]] if "const" in told else []):
        return ", ".join(map(code, values))
    if told.get("type") == "array":
        return f"list of {allowed(told['items'])}" if told["items"] else "list"
    if told.get("type") == "object" or "$ref" in told:
        return "mapping"
    names = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "`true`, `false`",
        "null": "`null`",
    }
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f"{sign} {told[bound]}" for bound, sign in signs.items() if bound in told]
    return " ".join([names.get(told.get("type", ""), "anything"), ", ".join(bounds)]).strip()


def sweep() -> str:
    """Write the settings of a sweep, and what Slurm is asked for."""
    definition, cluster = harness.load("sweeps.definition"), harness.load("engines.cluster")
    return page(
        "Settings of a sweep",
        "What `just sweep` reads.",
        "## `confs/sweep.yaml`",
        _defaulted(definition.Sweep),
        "### A setting in `space`",
        "Its name is that of the setting in `confs/train.yaml`, `section.key`.",
        _defaulted(definition.Dimension),
        "### `stop`",
        _defaulted(definition.Stop),
        "### An example",
        block("yaml", definition.EXAMPLE),
        "## `confs/cluster.yaml`",
        "What Slurm is asked for by `just sweep --on slurm`.",
        _defaulted(cluster.Slurm),
        "### An example",
        block("yaml", cluster.EXAMPLE),
    )


def _defaulted(schema: type[BaseModel]) -> str:
    told, rows = schema.model_json_schema()["properties"], []
    for name, field in schema.model_fields.items():
        default = (
            field.default.model_dump(exclude_unset=True) if isinstance(field.default, BaseModel) else field.default
        )
        default = "required" if field.is_required() else code(default)
        rows.append((f"`{name}`", default, allowed(told[name]), field.description or ""))
    return table(CONF_HEAD, rows)


def datasets() -> str:
    """Write the keys of an entry of data/datasets.yaml, by the docstring of the class that reads it."""
    manifest, tables = harness.load("datasets.manifest"), harness.load("datasets.tables")
    told = dict(re.findall(r"(?m)^(\w+) : .*\n((?:    .*\n?)+)", inspect.getdoc(manifest.Dataset) or ""))
    fields = {
        field.name: field for field in dataclasses.fields(manifest.Dataset) if field.init and field.name != "name"
    }
    rows = (
        (
            f"`{name}`",
            "required" if field.default is dataclasses.MISSING is field.default_factory else "",
            " ".join(told[name].split()),
        )
        for name, field in fields.items()
    )
    return page(
        "Entries of `data/datasets.yaml`",
        "Each name is what `run.dataset(NAME)` or `run.path(NAME)` asks for. `just data-add` writes an entry, `just "
        "data-check` holds the files to it. [Data by digest](../explanation/data.md) says what that rests on.",
        table(("key", "", "is"), rows),
        "## `read`",
        "How a text is written: what `data-add` found out, or was told by `--read KEY=VALUE`, by the names that "
        "`pandas.read_csv` has for it.",
        table(("key", "is"), ((f"`{name}`", kind.__name__) for name, kind in tables.OPTIONS.items())),
    )


# --- What may be typed --------------------------------------------------------
def cli() -> str:
    """Write the recipes of a project's justfile, the commands behind them, and the entry points of MLproject."""
    found = harness.load("cli.main").cli
    return page(
        "Recipes and commands",
        "`just` alone says what to type on the first day. Each recipe is a line or two that you could type yourself: "
        "most call `python -m PACKAGE COMMAND`, whose help stands below. Your own recipes go into `mine.just`.",
        "## Recipes",
        *recipes(),
        "## Commands",
        *commands(found, "python -m PACKAGE"),
        "## Entry points of `mlflow run`",
        "`mlflow run . --env-manager uv -e ENTRY -P NAME=VALUE`; `just run -e ENTRY -P NAME=VALUE` does the same, "
        "guarded.",
        entry_points(),
    )


def recipes() -> Iterator[str]:
    """Give a table of recipes for each group of the justfile, in its order."""
    groups: dict[str, list[tuple[str, str]]] = {}
    known = json.loads(_just("--dump", "--dump-format", "json"))["recipes"]
    for name in _just("--summary", "--unsorted").split():
        group = next((one["group"] for one in known[name]["attributes"] if "group" in one), "first day")
        groups.setdefault(group, []).append((f"`just {name}`", known[name]["doc"]))
    for group, rows in groups.items():
        yield f"### {group.capitalize()}"
        yield table(("recipe", "does"), rows)


def _just(*options: str) -> str:
    command = [str(Path(sys.executable).with_name("just")), *options, "--justfile", str(ROOT / "template" / "justfile")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def commands(command: click.Command, name: str) -> Iterator[str]:
    """Give the help of a command, and of those below it that are shown."""
    context = click.Context(command, info_name=name, max_content_width=110, terminal_width=110)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            if not inner.hidden:
                yield from commands(inner, f"{name} {inner.name}")
    else:
        yield f"### `{name.partition('PACKAGE ')[2] or name}`"
        yield block("text", command.get_help(context))


def entry_points() -> str:
    """Write the table of MLproject."""
    text = (ROOT / "template" / "MLproject.jinja").read_text("utf-8").replace("{{ package_name }}", "PACKAGE")
    rows = []
    for name, entry in yaml.safe_load(text)["entry_points"].items():
        parameters = ", ".join(
            f"`{parameter}={told['default']}`" if "default" in told else f"`{parameter}` (required)"
            for parameter, told in entry["parameters"].items()
        )
        rows.append((f"`{name}`", parameters, f"`{entry['command']}`"))
    return table(("entry point", "parameters", "command"), rows)


def updater() -> str:
    """Write the commands of the tool that keeps projects current."""
    sys.path.insert(0, str(ROOT))
    from copier_mlflow import cli

    return page(
        "The updater",
        "`copier-mlflow` is a console script of the template's repository; `just template-update` and "
        "`just template-diff` of a project run that of the newest release. "
        "[Keep thirty projects current](../how-to/fleet.md) shows it at work.",
        inspect.getdoc(cli.commands.callback) or "",
        *commands(cli.commands, "copier-mlflow"),
    )


def api() -> str:
    """Write what the code of a project may call: signatures and docstrings."""
    places = {
        "Run": "training.run_object",
        "Result": "modeling.result",
        "ModelAdapter": "adapter",
        "Experiment": "training.steps",
        "ProjectError": "common.errors",
        "execute": "execute",
    }
    parts = []
    for name, module in places.items():
        thing = getattr(harness.load(module), name)
        parts += [f"## `{name}`", block("text", _signature(name, thing))]
        members = vars(thing) if inspect.isclass(thing) and name in ("Run", "ModelAdapter") else {}
        for member, value in members.items():
            value = getattr(value, "fget", None) or getattr(value, "func", None) or value
            if inspect.isfunction(value) and not member.startswith("_"):
                parts += [f"### `{name}.{member}`", block("text", _signature(member, value))]
    return page(
        "What your code may call",
        "`from .reproducibility import …` gives `Experiment`, `ModelAdapter`, `ProjectError`, `Result`, `Run`, `Train` "
        "and `main`; `from PACKAGE.reproducibility.execute import execute` starts a run from a notebook or script. "
        "What these are stays as it is from release to release; everything else in `reproducibility/` may change.",
        *parts,
    )


def _signature(name: str, thing: Any) -> str:
    signature = str(inspect.signature(thing)).replace("'", "")  # of annotations that are not evaluated
    return f"{name}{signature}\n\n{inspect.getdoc(thing) or ''}"


# --- What a run leaves --------------------------------------------------------
def record() -> str:
    """Write what a record holds."""
    return page(
        "The record of a run",
        "Every tracked run leaves the artifact folder `record/`: all that it takes to execute it again. Its files:",
        table(("file", "holds"), ((f"`{name}`", told) for name, told in record_schema.FILES.items())),
        "A run also has tags:",
        table(("tag", "holds"), ((f"`{name}`", told) for name, told in record_schema.TAGS.items())),
        "## `record.json`",
        f"Schema {record_schema.VERSION}, which is that of today; earlier ones are read, and reproduced, as ever. "
        "As a JSON Schema: [record.schema.json](record.schema.json). `*` is any name, `[]` each of a list.",
        table(("key", "type", "", "holds"), record_schema.rows()),
    )


def exit_codes() -> str:
    """Write the exit codes, by the comments of the module that has them."""
    module, meanings = harness.load("common.exit_codes"), harness.load("proof.compare").MEANINGS
    lines = Path(module.__file__ or "").read_text("utf-8").splitlines()
    rows = [("`0`", "", "All is well. Of a comparison: identical, or equivalent.")]
    for node in ast.parse("\n".join(lines)).body:
        if isinstance(node, ast.Assign) and (comment := lines[node.lineno - 2].removeprefix("#: ")):
            target = node.targets[0]
            names = [
                one.id
                for one in (target.elts if isinstance(target, ast.Tuple) else [target])
                if isinstance(one, ast.Name)
            ]
            codes = [getattr(module, name) for name in names]
            if all(isinstance(code, int) for code in codes):
                rows.append(
                    (", ".join(f"`{code}`" for code in codes), ", ".join(f"`{name}`" for name in names), comment)
                )
    told = {**meanings, module.NOT_REPRODUCIBLE: "a part is missing; it says which, and how to get it."}
    verdicts = ((verdict, f"`{code}`", told[verdict]) for verdict, code in module.EXIT_CODES.items())
    return page(
        "Exit codes and verdicts",
        "Of every command of a project. A number never means two things of one command.",
        table(("code", "in the harness", "means"), rows),
        "## Verdicts",
        "Of `just verify`, `just reproduce` and `just compare`; the tag `repro.verdict`. "
        "[What identical means](../explanation/identical.md) says how each is found.",
        table(("verdict", "code", "means"), verdicts),
        "## Where a number is another",
        "`just template-update` and `copier-mlflow update`: 0, nothing is left to do; 1, something is, or `--check` "
        "found something; 3, an error; 64, wrong usage. `mlflow run` turns every code but 0 into 1: read the tag.",
    )


#: What a person may set, that no file of a project lists.
VARIABLES = {
    "CONTAINER_ENGINE": "The container engine to take, `docker` or `podman`; else the first that answers.",
    "CONTAINER_BASE": "The base of an image, in place of the Dockerfile's.",
    "DOCKER_HOST": "Where Docker's engine listens.",
    "CUDA_VISIBLE_DEVICES": "Which GPUs a training sees; empty for none. It is recorded.",
    "SSL_CERT_FILE": "A file with your company's certificates; with it, `REQUESTS_CA_BUNDLE`.",
    "REQUESTS_CA_BUNDLE": "The same, for what reads this name.",
    "XDG_CACHE_HOME": "The user's cache folder, in which digests of unchanged data are remembered.",
    "TMPDIR": "Where replays are executed, and images built.",
    "NO_COLOR": "No colours at a terminal. Files and pipes never get any, nor what is shown while a person waits.",
    "TERM": "`dumb`: a terminal that cannot move its cursor, and is shown no waits.",
    "REPRO_COMMIT": "In a container without git, started by hand: the commit whose code is mounted.",
}


def environment() -> str:
    """Write the environment variables that a person may set, and those that a run sets and records."""
    launch, fingerprint = harness.load("randomness.launch"), harness.load("record.fingerprint")
    return page(
        "Environment variables",
        "What stands in `.env`, `just` loads; what the shell says wins. Credentials belong there and nowhere else.",
        "## Of `.env`",
        table(("variable", "is for"), dotenv()),
        "## Besides",
        table(("variable", "is for"), ((f"`{name}`", told) for name, told in VARIABLES.items())),
        "## Set for every training",
        "From `seed` and `threads` of the conf, before the interpreter that trains starts; the conf wins over the "
        "shell, with a notice, and the record has them:",
        ", ".join(f"`{name}`" for name in launch.variables(0, 1)) + ", and what the framework needs.",
        "## Recorded, where they are set",
        "By these, numeric libraries choose their kernels: "
        + ", ".join(f"`{name}`" for name in fingerprint.VARIABLES)
        + ".",
        "## Of uv, pip and Python",
        "They decide what is installed and computed. So of the shell's only those reach what a recipe starts that lead "
        "to packages and interpreters, or say how a program speaks:",
        block("text", textwrap.dedent(harness.load("common.shell").REACHES.pattern).strip()),
        "## Of `tracking-server/.env`",
        "As `just server-init` writes it:",
        block("sh", harness.load("tracking_server.settings").TEXT),
        "## Sent to the nodes of a cluster",
        "By these a node reaches the tracking store: those that begin with "
        + ", ".join(f"`{name}`" for name in harness.load("engines.cluster").STORE)
        + ".",
        "## `[tool.reproducibility]` of `pyproject.toml`",
        table(
            ("key", "is"),
            (
                ("`experiment`", "The experiment of every run; `MLFLOW_EXPERIMENT_NAME` wins."),
                ("`tracking-uri`", "The store of every run, relative to this file; `MLFLOW_TRACKING_URI` wins."),
                ("`data`", "A folder outside the project, in which datasets lie that are not in `data/`."),
            ),
        ),
    )


def dotenv() -> Iterator[tuple[str, str]]:
    """Give the variables of .env.example, of every answer, each with the comment above it."""
    text = (ROOT / "template" / ".env.example.jinja").read_text("utf-8")
    comment = ""
    for line in text.splitlines():
        if line.startswith("# "):
            comment = line[2:]
        elif match := re.match(r"#(\w+)=", line):
            yield f"`{match[1]}`", comment


# --- Markdown -----------------------------------------------------------------
def page(title: str, *parts: str) -> str:
    """Put a page together."""
    return "\n\n".join([f"# {title}", *parts]) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a table."""
    head = tuple(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in line)} |" for line in lines
    )


def block(language: str, text: str) -> str:
    """Write a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def code(value: Any) -> str:
    """Write a value as it stands in YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`"


PAGES: dict[str, Callable[[], str]] = {
    "reference/questions.md": questions,
    "reference/conf.md": conf,
    "reference/datasets.md": datasets,
    "reference/sweep.md": sweep,
    "reference/cli.md": cli,
    "reference/api.md": api,
    "reference/record.md": record,
    "reference/exit-codes.md": exit_codes,
    "reference/environment.md": environment,
    "reference/updater.md": updater,
}
