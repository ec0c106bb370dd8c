"""Options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..common import quiet

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a setting for this run, e.g. test_fraction=0.3.",
)
config_option = click.option(
    "--config", default="confs/train.yaml", show_default=True, help="The conf file; runs:/RUN_ID: as that run had it."
)
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

verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    # A variable, as what is started here is to tell it too.
    callback=lambda context, option, given: os.environ.update({quiet.VERBOSE: "1"} if given else {}),
    help="Let libraries tell what they do: MLflow, TensorFlow.",
)
container_option = click.option(
    "--container/--no-container", default=None, help="Train in an image, or not; by default as the run did."
)


def to_write(path: str) -> Path:
    """Name a file to write: relative to where the person stands."""
    return (Path(os.environ.get("INVOCATION_DIRECTORY", ".")) / path).resolve()


def use_store(tracking_uri: str | None) -> None:
    """Take the runs of another store than the project's own."""
    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
