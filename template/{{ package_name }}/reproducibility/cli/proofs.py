"""Commands that compare runs."""

from __future__ import annotations

import itertools

import click

from ..common.files import absolute, write_whole
from ..common.project import MAIN
from .options import (
    RUN_ID,
    config_option,
    container_option,
    seed_option,
    set_option,
    store_option,
    text_option,
    use_store,
    verbose_option,
)


@click.command()
@config_option
@seed_option
@set_option
@text_option
@container_option
@click.option("--step", default=MAIN, show_default=True, help="Of a project of several steps; give its --config too.")
@verbose_option
def verify(config: str, seed: str, overrides: tuple[str, ...], text: str, container: bool | None, step: str) -> None:
    """Train twice, with all that must not matter changed between the two, and compare to the last bit.

    The second training starts from the record of the first: another folder, time zone, locale, umask, process and
    hash seed of the shell, in the environment of `just run`. Exits with 1 where the two differ.
    """
    from ..proof import verify
    from ..training import just_run

    overrides = (*overrides, *just_run.overrides(seed, text))
    raise SystemExit(verify.verify(absolute(config), overrides, bool(container), step))


@click.command()
@click.argument("run_id", metavar=RUN_ID)
@store_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--chain", is_flag=True, help="Also all that it was made from, from the raw data on; and a page of it.")
@click.option("--sample", default=0, type=click.IntRange(0), help="Of a sweep: also so many runs of its trials.")
@container_option
@verbose_option
def reproduce(
    run_id: str, tracking_uri: str | None, dry_run: bool, chain: bool, sample: int, container: bool | None
) -> None:
    """Execute a run again from its ID alone, and compare every stage to the last bit.

    The first digits of the ID are enough, four or more; `last` is the newest run that finished and is no replay.

    Its commit with its uncommitted work is checked out into a temporary folder, its data verified, its lock's
    environment built or verified, its training executed. A run of `just run --container` is executed in its image: the
    one that is here, or in the registry that it was pushed to, or the same built anew. Your files, index, branches and
    remotes stay as they are. It executes the run's own code: only reproduce what you would run.

    Of a sweep, its plan is derived again from its conf, and its results are held to the records of its runs.

    Exits with 0 (identical, or equivalent on other hardware), 1 (different), 2 (cannot be tried).
    """
    from ..pipeline.chain import reproduce_chain
    from ..proof import reproduce
    from ..sweeps import proving

    use_store(tracking_uri)
    if proving.is_sweep(run_id):
        if chain or dry_run:
            raise click.UsageError("a sweep has neither --chain nor --dry-run; its runs have.")
        raise SystemExit(proving.reproduce_sweep(run_id, sample, container))
    if sample:
        raise click.UsageError("--sample is for the run of a sweep.")
    if chain and dry_run:
        raise click.UsageError("--chain executes; what it would execute: just lineage RUN_ID")
    if chain:
        raise SystemExit(reproduce_chain(run_id, container))
    raise SystemExit(reproduce.reproduce(run_id, dry_run, container))


@click.command()
@click.argument("a", metavar=RUN_ID)
@click.argument("b", metavar=RUN_ID)
@store_option
@click.option("--explain", is_flag=True, help="Prove the causes: replay B with one difference taken back at a time.")
@click.option("--html", "page", metavar="FILE", help="Also write an HTML page.")
def compare(a: str, b: str, tracking_uri: str | None, explain: bool, page: str | None) -> None:
    """Put two runs side by side: stages, metrics, and every recorded difference, the most likely cause first.

    Exits with 0 (identical, or equivalent on other hardware) or 1 (different).
    """
    from ..common import exit_codes
    from ..proof import compare, refusals, report, show
    from ..proof.explain import explain as prove
    from ..proof.reproduce import scratch_folder
    from ..record import lookup, reader
    from ..store import tracking

    use_store(tracking_uri)
    tracking.connect()
    with scratch_folder() as scratch:
        records = [reader.download(lookup.get_run(run), scratch / name) for name, run in (("a", a), ("b", b))]
        comparison = compare.compare(*records)
        show.show(comparison)
        if page:
            write_whole(absolute(page), report.report(comparison))
        if explain and not comparison.remarks:
            print("There is nothing to explain: all stages are equal.")
        elif explain:
            for record in records:
                refusals.require_git(record)
            show.show_proof(prove(comparison, scratch / "replays", lambda what: print(f"replay: {what}", flush=True)))
    raise SystemExit(exit_codes.EXIT_CODES[comparison.verdict])


@click.command()
@click.option(
    "--limit", default=15, show_default=True, type=click.IntRange(1, 50_000), help="How many, the newest first."
)
@click.option("--verdict", help="Only those of this verdict, such as identical.")
@click.option(
    "--of", "parent", metavar=RUN_ID, help="Those of a sweep, whose trials are not listed else, or a pipeline."
)
def runs(limit: int, verdict: str | None, parent: str | None) -> None:
    """List recent runs with their metrics and what came of reproducing them."""
    from ..common import exit_codes
    from ..proof import show
    from ..record import lookup
    from ..store import search, tracking

    if verdict and verdict not in exit_codes.EXIT_CODES:
        raise click.BadParameter(f"{verdict!r} is none of {', '.join(exit_codes.EXIT_CODES)}", param_hint="--verdict")
    experiment_id = tracking.connect()
    conditions = {"repro.verdict": verdict, "mlflow.parentRunId": parent and lookup.get_run(parent).info.run_id}
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in conditions.items() if value)
    found = search.newest_first([experiment_id], wanted)
    shown = (run for run in found if parent or "repro.trial" not in run.data.tags)
    nothing = "No run is so: just runs      lists them all" if wanted else "No runs yet: just train"
    show.show_runs(itertools.islice(shown, limit), nothing)
