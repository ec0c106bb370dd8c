"""Commands for the image of a run."""

from __future__ import annotations

from pathlib import Path

import click

base_option = click.option(
    "--base", default="", metavar="REF", help="A base in place of the Dockerfile's; CONTAINER_BASE is the same."
)


@click.command()
@click.option("--push", metavar="REGISTRY/NAME", help="Push it there too, and print the digest by which it is known.")
@base_option
@click.option("--no-cache", is_flag=True, help="Take nothing of earlier builds.")
@click.option(
    "--layers",
    type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
    help="A folder for layers, which CI keeps from one build to the next.",
)
def image(push: str | None, base: str, no_cache: bool, layers: Path | None) -> None:
    """Build the image of what is checked out, uncommitted work included: the locked environment, and the code.

    It is named after the commit, or after the tree where something is not committed. The same tree gives the same
    image, which `just image-verify` proves. Docker or podman is taken, whichever answers first, or the one that
    CONTAINER_ENGINE or DOCKER_HOST names.
    """
    from ..common.project import ROOT
    from ..containers import builders, engine, image, publish
    from ..source.capture import capture

    found, code = engine.find(), capture()
    base = base or image.default_base()
    if no_cache:
        built = image.build(found, builders.choose(found), ROOT, code, base, cached=False, layers=layers)
    else:
        built = image.of_project(found, ROOT, code, base, layers)
    print(f"image    {built.reference}")
    print(f"ID       {built.id}")
    print(f"base     {built.base}")
    print(f"builder  {built.builder}, for {built.engine}")
    if built.contents:
        print(f"contents {built.contents}      (this builder gives equal contents another ID each time)")
    if "@sha256:" not in base:
        print("The base is not pinned: in the Dockerfile, put the digest that its registry has for it behind the tag.")
    if push:
        print(f"pushed   {publish.push(found, built, push)}")


@click.command("image-verify")
@base_option
def image_verify(base: str) -> None:
    """Build the image twice without cache, and compare: the same ID, or else the same files.

    Exits with 0 if they are the same, and with 1 if not: the first files that differ are named.
    """
    from ..containers import engine, verify

    outcome = verify.twice(engine.find(), base)
    first, second = outcome.first, outcome.second
    if first.id == second.id:
        print(f"identical: {first.builder} gave {first.id} both times")
    elif outcome.same:
        print(f"identical in contents: {first.contents}, both times")
        print(f"{first.builder} puts the clock into every image, so the IDs differ: {first.id}, {second.id}")
        print("buildah, or BuildKit 0.13 or newer with images in containerd's store, gives one ID.")
    else:
        print(f"different: {first.builder} gave {first.id} and {second.id}")
        print("\n".join(outcome.differences) or "no file differs: the layers, or what is told of them, do")
    raise SystemExit(0 if outcome.same else 1)
