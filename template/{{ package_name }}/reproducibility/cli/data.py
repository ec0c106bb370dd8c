"""Commands for datasets."""

from __future__ import annotations

import sys

import click

from ..common.errors import ProjectError


@click.group()
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
    from ..common import addresses
    from ..datasets import register, tables

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
    from ..datasets import manifest, retrieval, verification

    entries = manifest.read_manifest().values()
    problems = []
    with click.progressbar(length=sum(entry.size for entry in entries), label="verifying", file=sys.stderr) as bar:
        for entry in entries:
            try:
                verification.verify(entry, bar.update)
            except ProjectError as error:
                problems.append((entry, error))
    for entry, problem in problems:
        if not restore:
            problem.show()
            continue
        retrieval.restore(entry)
        print(f"{entry.path} is back.")
    if problems and not restore:
        raise ProjectError(f"{len(problems)} of {len(entries)} datasets are not as registered.", "See above.")
    print(f"{len(entries)} dataset{'s' * (len(entries) != 1)}, all as registered.")
