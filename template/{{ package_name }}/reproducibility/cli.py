"""The command line: `python -m PACKAGE --help`."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .project import INTERRUPTED, PACKAGE, ROOT, ProjectError, absolute, own_places, write_whole
from .scratch import temporary_folder

if TYPE_CHECKING:
    from .run import Experiment

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting for this run, e.g. test_fraction=0.3.",
)
config_option = click.option("--config", default="confs/train.yaml", show_default=True, help="The conf file.")
seed_option = click.option(
    "--seed", default="conf", show_default=True, help="A number from 0 to 4294967295; `conf` is the conf's own."
)
text_option = click.option(
    "--overrides", "text", default="", help="Several settings in one text, as `mlflow run -P set=` gives them."
)
#: How a run is named on the command line.
RUN_ID = "RUN_ID|last"
store_option = click.option(
    "--tracking-uri", metavar="URI", help="The store that has the run; by default the project's own."
)


def run_command(experiment: Experiment) -> int:
    """Parse the command line and do what it says.

    Parameters
    ----------
    experiment : callable
        Gives the project's settings class and training.

    Returns
    -------
    int
        The exit code: 0, or 130 for an interrupted question. Errors are raised, wrong usage too.
    """
    try:
        # Not `cli.main`, which takes an EOFError of the training for an interrupt, and ends a broken pipe with 1.
        with cli.make_context("just", sys.argv[1:], obj=experiment) as context:
            return cli.invoke(context) or 0
    except Exception as error:
        if own_places(error):
            raise
        return _refused(error)


def _refused(error: Exception) -> int:
    """Turn what click and MLflow raise, and no code of the project's own, into an exit code or a `ProjectError`."""
    if isinstance(error, click.exceptions.Exit):  # --help
        return error.exit_code
    if isinstance(error, click.Abort):
        return INTERRUPTED
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path.replace("data ", "data-") if error.ctx else "just"
        fix = f"{command} --help" if command != "just" else "just --list"
        raise ProjectError(error.format_message(), fix, exit_code=64) from error
    if type(error).__module__ == "mlflow.exceptions":
        from . import tracking

        raise tracking.explain(error) from error
    raise error


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Train, predict, and look after the data. Every command has a recipe: `just --list`."""


@cli.command()
@config_option
@seed_option
@set_option
@text_option
@click.option("--name", help="The run's name in MLflow; invented by default.")
@click.option(
    "--resume",
    metavar=RUN_ID,
    help="Go on from the last checkpoint of a run, with that run's conf; `last` is the last one that did not finish.",
)
@click.option("--id-file", metavar="FILE", help="Also write the run's ID into a file, for scripts.")
@click.pass_obj
def train(
    experiment: Experiment,
    config: str,
    seed: str,
    overrides: tuple[str, ...],
    text: str,
    name: str | None,
    resume: str | None,
    id_file: str | None,
) -> None:
    """Train once and track everything: settings, data, metrics, plots, model, and the record of the run."""
    from . import execute, projects

    overrides = (*overrides, *projects.overrides(seed, text))
    if resume and overrides:
        raise click.UsageError("--resume goes on with the settings that the run had; leave --set and --seed out.")
    run_id = execute.execute(experiment, config, overrides, name, resume)
    if id_file:
        write_whole(_to_write(id_file), run_id)


@cli.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("run_id")
@click.argument("parent", type=int)
@click.pass_obj
def rank(experiment: Experiment, folder: Path, run_id: str, parent: int) -> None:
    """Be one of the processes of a training: `train` starts them where the conf has `processes`."""
    from . import execute, projects, together  # noqa: F401 - a record names what was imported: as much as by `train`

    together.watch(parent)
    execute.take_part(experiment, folder, run_id)


@cli.command("run")
@click.option("-e", "--entry-point", default="main", show_default=True, help="An entry point of MLproject.")
@click.option("-P", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the entry point.")
@click.option("--seed", type=int, help="Short for -P seed=N.")
@set_option
def run_project(entry_point: str, parameters: tuple[str, ...], seed: int | None, overrides: tuple[str, ...]) -> None:
    """Execute an entry point through MLflow, in an environment built from the hashed lock.

    The run as anyone else would execute it: nothing of .venv takes part.
    """
    from . import projects

    for parameter in parameters:
        if "=" not in parameter:
            raise click.BadParameter(f"{parameter!r} is not NAME=VALUE", param_hint="-P")
    given = dict(parameter.split("=", 1) for parameter in parameters)
    if seed is not None:
        given["seed"] = str(seed)
    if overrides:
        given["set"] = f"{given.get('set', '')} {shlex.join(overrides)}".strip()
    projects.run(entry_point, given)


@cli.command()
@config_option
@seed_option
@set_option
@text_option
def verify(config: str, seed: str, overrides: tuple[str, ...], text: str) -> None:
    """Train twice, with all that must not matter changed between the two, and compare to the last bit.

    The second training starts from the record of the first: another folder, time zone, locale, umask, process and
    hash seed of the shell, in the environment of `just run`. Exits with 1 where the two differ.
    """
    from . import projects, verify

    raise SystemExit(verify.verify(absolute(config), (*overrides, *projects.overrides(seed, text))))


@cli.command()
@click.argument("run_id", metavar=RUN_ID)
@store_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def reproduce(run_id: str, tracking_uri: str | None, dry_run: bool) -> None:
    """Execute a run again from its ID alone, and compare every stage to the last bit.

    The first digits of the ID are enough, four or more; `last` is the newest run that finished and is no replay.

    Its commit with its uncommitted work is checked out into a temporary folder, its data verified, its lock's
    environment built or verified, its training executed. Your files, index, branches and remotes stay as they are.
    It executes the run's own code: only reproduce what you would run.

    Exits with 0 (identical, or equivalent on other hardware), 1 (different), 2 (cannot be tried).
    """
    from . import reproduce

    _use_store(tracking_uri)
    raise SystemExit(reproduce.reproduce(run_id, dry_run))


@cli.command()
@click.argument("a", metavar=RUN_ID)
@click.argument("b", metavar=RUN_ID)
@store_option
@click.option("--explain", is_flag=True, help="Prove the causes: replay B with one difference taken back at a time.")
@click.option("--html", "page", metavar="FILE", help="Also write an HTML page.")
def compare(a: str, b: str, tracking_uri: str | None, explain: bool, page: str | None) -> None:
    """Put two runs side by side: stages, metrics, and every recorded difference, the most likely cause first.

    Exits with 0 (identical, or equivalent on other hardware) or 1 (different).
    """
    from . import compare, records, replay, report, tracking
    from .explain import explain as prove
    from .reproduce import scratch_folder

    _use_store(tracking_uri)
    tracking.connect()
    with scratch_folder() as scratch:
        found = []
        for name, run_id in (("a", a), ("b", b)):
            run = records.get_run(run_id)
            found.append(records.download(run, scratch / name))
            records.require_own(found[-1], run)
        comparison = compare.Comparison(*found)
        report.show(comparison)
        if page:
            write_whole(absolute(page), report.page(comparison))
        if explain and comparison.parted is None:
            print("There is nothing to explain: all stages are equal.")
        elif explain:
            for record in found:
                replay.require_git(record)
            report.show_proof(prove(comparison, scratch / "replays", lambda what: print(f"replay: {what}", flush=True)))
    raise SystemExit(compare.EXIT_CODES[comparison.verdict])


@cli.command()
@click.option(
    "--limit", default=15, show_default=True, type=click.IntRange(1, 50_000), help="How many, the newest first."
)
@click.option("--verdict", help="Only those of this verdict, such as identical.")
def runs(limit: int, verdict: str | None) -> None:
    """List recent runs with their metrics and what came of reproducing them."""
    from . import compare, report, tracking

    if verdict and verdict not in compare.EXIT_CODES:
        raise click.BadParameter(f"{verdict!r} is none of {', '.join(compare.EXIT_CODES)}", param_hint="--verdict")
    experiment_id = tracking.connect()
    import mlflow

    wanted = f"tags.`repro.verdict` = '{verdict}'" if verdict else ""
    report.show_runs(mlflow.MlflowClient().search_runs([experiment_id], wanted, max_results=limit))


@cli.command()
@click.argument("run_id", metavar=RUN_ID)
@click.option("--force", is_flag=True, help="Also if it was not reproduced; the version is tagged repro.forced.")
def promote(run_id: str, force: bool) -> None:
    """Register the model of a run as champion, if the run was reproduced."""
    from . import promote

    version = promote.promote(run_id, force)
    print(f"Version {version} of the model {PACKAGE} is {promote.ALIAS}: just predict {promote.ALIAS} FILE")


@cli.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="By default a GPU, if the framework can use one.")
@click.option(
    "--minutes", default=5.0, show_default=True, type=click.FloatRange(0.5, 600), help="How long it may take."
)
def selftest(device: str | None, minutes: float) -> None:
    """Find out whether training repeats on this machine, and which switches matter here.

    The project's own training and a stress workload of its framework are trained several times, each in a fresh
    process of another shell; then without each switch and seed in turn; killed and resumed; on the GPU and the CPU.

    Exits with 0 if training repeats and 1 if it does not. The outcome is kept in .selftest.json and in the store.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from .selftest import keep, plan, show

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn(f"of {minutes:g} min")
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task("", total=1.0)
        content = plan.run(
            device or "", minutes, lambda what, gone: progress.update(bar, description=what, completed=gone), own=True
        )
    show.show(content)
    keep.keep(content)
    raise SystemExit(0 if content["repeats"] else 1)


@cli.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(port: int) -> None:
    """Open MLflow's UI over the project's runs. It listens on this machine only."""
    from . import tracking

    uri = tracking.store_uri()
    if tracking.database() is None:
        print(f"The runs are on {tracking.public(uri)}: open it in a browser.")
        return
    tracking.connect()
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ProjectError(f"port {port} is in use: another UI, of another project perhaps.", "just ui --port 5001")
    print(f"MLflow's UI: http://127.0.0.1:{port}   (Ctrl-C ends it)", flush=True)
    # Its background jobs serve features of the GenAI pages, and cost four processes.
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    options = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    with temporary_folder("ui") as folder:
        python = Path(sys.executable)
        if "%" in sys.prefix:  # in MLflow's own path: the processes that it starts would take it for a code
            (folder / "venv").symlink_to(sys.prefix)
            python = folder / "venv" / python.relative_to(sys.prefix)
        if subprocess.run([str(python), "-m", "mlflow", "ui", *options], cwd=ROOT, env=quiet).returncode:
            raise ProjectError("MLflow's UI ended with an error; it says why above.", "just doctor")


@cli.command()
@click.argument("model", metavar=f"{RUN_ID}|champion")
@click.argument("file")
@click.option("-o", "--output", help="The CSV file to write; by default FILE's name with `.predictions.csv`, here.")
@click.option("--allow-unsafe", is_flag=True, help="Load a model that can run code of its author: a pickle.")
def predict(model: str, file: str, output: str | None, allow_unsafe: bool) -> None:
    """Predict for every row of FILE (CSV or parquet) with the model of a run, or with the champion."""
    from . import predict

    source = absolute(file)
    target = _to_write(output or f"{source.stem}.predictions.csv")
    rows = predict.predict(model, source, target, allow_unsafe)
    print(f"{len(rows):,} predictions in {target}")


@cli.group()
def data() -> None:
    """Look after the datasets of data/datasets.yaml."""


@data.command("add")
@click.argument("origin", metavar="PATH|URI")
@click.option("--name", help="What `run.dataset(NAME)` asks for; the file's own name by default.")
@click.option("--source", help="Where it comes from; the URI by default.")
@click.option("--licence", help="Under which it may be used.")
@click.option("--limit", default=10_000_000, show_default=True, help="Larger files (bytes) stay out of git.")
@click.option("--read", multiple=True, metavar="KEY=VALUE", help="How the text is written, e.g. sep=';' or decimal=,")
def data_add(
    origin: str, name: str | None, source: str | None, licence: str | None, limit: int, read: tuple[str, ...]
) -> None:
    """Register a CSV or parquet file: a path, or an http(s), s3 or runs:/ address.

    How a text is written (separator, decimal and thousands characters, encoding, compression) is recognised and kept.
    Over the size limit the file stays out of git, and the tracking store keeps a copy under its digest.
    """
    from . import addresses, register, tables

    entry = register.add(origin, name, source, licence, limit, tables.options(read))
    print(f"{entry.name}: {entry.path}, {entry.size:,} bytes, {entry.digest}")
    if entry.read:
        print(f"It is read with {', '.join(f'{key}={value!r}' for key, value in entry.read.items())}.")
    if addresses.public(origin) != origin:
        print(f"notice: of the address only {entry.source} is kept; to fetch it again, add it in full again.")
    print(f"To train on it, set `dataset: {entry.name}` in confs/train.yaml, and `target:` to the column to predict.")


@data.command("check")
@click.option(
    "--restore", is_flag=True, help="Get back what is missing or changed; a changed file is kept as FILE.changed."
)
def data_check(restore: bool) -> None:
    """Verify every file of data/datasets.yaml against its digest."""
    from . import datasets

    entries = datasets.read_manifest().values()
    problems = []
    with click.progressbar(length=sum(entry.size for entry in entries), label="verifying", file=sys.stderr) as bar:
        for entry in entries:
            try:
                datasets.verify(entry, bar.update)
            except ProjectError as error:
                problems.append((entry, error))
    for entry, problem in problems:
        if not restore:
            problem.show()
            continue
        datasets.restore(entry)
        print(f"{entry.path} is back.")
    if problems and not restore:
        raise ProjectError(f"{len(problems)} of {len(entries)} datasets are not as registered.", "See above.")
    print(f"{len(entries)} dataset{'s' * (len(entries) != 1)}, all as registered.")


@cli.command()
def relocate() -> None:
    """After the folder was copied or moved: point the project's own store at its new place."""
    from . import relocate

    backup, changed = relocate.relocate()
    print(f"{changed} locations now point to {ROOT}. The database as it was: {backup.name}")


@cli.command("clean-envs")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean_envs(yes: bool) -> None:
    """Delete the MLflow environments of this project that no lock needs any more."""
    from . import env_cache

    unneeded = env_cache.unneeded()
    for path in unneeded:
        print(f"{env_cache.size(path) / 1e6:8.0f} MB  {path}")
    if not unneeded:
        print(f"Nothing to delete in {env_cache.folder()}.")
    elif yes or click.confirm("Delete them?"):
        for path in unneeded:
            env_cache.delete(path)


def _to_write(path: str) -> Path:
    """Name a file to write: relative to where the person stands."""
    return (Path(os.environ.get("INVOCATION_DIRECTORY", ".")) / path).resolve()


def _use_store(tracking_uri: str | None) -> None:
    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
