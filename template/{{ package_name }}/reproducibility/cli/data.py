"""Commands for datasets."""

from __future__ import annotations

import click

from ..common import terminal
from ..common.errors import ProjectError


@click.group()
def data() -> None:
    """Look after the datasets of data/datasets.yaml."""


@data.command("add")
@click.argument("origin", metavar="PATH|URI")
@click.option("--name", help="What `run.dataset(NAME)` or `run.path(NAME)` asks for; the file's own name by default.")
@click.option("--source", help="Where it comes from; the URI by default.")
@click.option("--licence", help="Under which it may be used.")
@click.option("--limit", default=10_000_000, show_default=True, help="What is larger (bytes) stays out of git.")
@click.option("--read", multiple=True, metavar="KEY=VALUE", help="How the text is written, e.g. sep=';' or decimal=,")
@click.option("--packed", is_flag=True, help="Take an archive for a file, and not for the folder that it holds.")
def data_add(
    origin: str,
    name: str | None,
    source: str | None,
    licence: str | None,
    limit: int,
    read: tuple[str, ...],
    packed: bool,
) -> None:
    """Register a file or folder of any kind: a path, or an http(s), s3 or runs:/ address, a folder's with a slash.

    Tables (CSV and other text, JSON lines, parquet, feather, a folder of parquet files) are read by
    `run.dataset(NAME)`. How a text is written (separator, decimal and thousands characters, encoding, compression)
    is recognised and kept. `run.path(NAME)` gives the verified file or folder, whatever it holds; of an archive (zip,
    tar) the folder that it holds, unpacked beside it.
    Over the size limit it stays out of git, and the tracking store keeps a copy, each file once under its digest.
    """
    from ..common import addresses
    from ..datasets import register, tables

    entry = register.add(origin, name, source, licence, limit, tables.options(read), packed)
    files = f"{entry.files:,} file{'s' * (entry.files != 1)}, " if entry.files else ""
    print(f"{entry.name}: {entry.path}, {files}{entry.size:,} bytes, {entry.digest}")
    if entry.read:
        print(f"It is read with {', '.join(f'{key}={value!r}' for key, value in entry.read.items())}.")
    if addresses.public(origin) != origin:
        terminal.notice(f"of the address only {entry.source} is kept; to fetch it again, add it in full again.")
    if tables.suffix(entry.file.name):
        print(f"To train on it, set `dataset: {entry.name}` in confs/train.yaml, and `target:` to what it predicts.")
    else:
        print(f"In `train`, `run.path({entry.name!r})` gives the {'folder' if files else 'file'}, once it is verified.")


@data.command("check")
@click.option(
    "--restore", is_flag=True, help="Get back what is missing or changed; what was changed is kept as NAME.changed."
)
def data_check(restore: bool) -> None:
    """Verify every file and folder of data/datasets.yaml against its digest."""
    from ..datasets import manifest, retrieval, verification

    registered = manifest.read_manifest().values()
    entries = [one for entry in registered for one in (entry.packed, entry) if one]
    problems = []
    with terminal.bar("verifying", sum(entry.size for entry in entries)) as bar:
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
    print(f"{len(registered)} dataset{'s' * (len(registered) != 1)}, all as registered.")
