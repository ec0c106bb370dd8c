"""`just image-verify`: the image of the tree built twice without cache, and compared."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.project import ROOT
from ..source.capture import capture
from . import builders, contents, image
from .engine import Engine

#: As many of the differences are told.
TOLD = 10


@dataclass(frozen=True)
class Outcome:
    """What two builds of one tree gave."""

    first: image.Image
    second: image.Image
    differences: list[str]

    @property
    def same(self) -> bool:
        """Whether they are one image, by ID; or by their files, where a builder gives another ID each time."""
        by_contents = bool(self.first.contents) and self.first.contents == self.second.contents
        return self.first.id == self.second.id or by_contents


def twice(engine: Engine, base: str = "") -> Outcome:
    """Build twice, without anything that was kept of earlier builds; what turns out the same gets the tree's name."""
    code, base, builder = capture(), base or image.default_base(), builders.choose(engine)
    first, second = (image.build(engine, builder, ROOT, code, base, cached=False, name=False) for _ in range(2))
    outcome = Outcome(first, second, [])
    names = [image.known_as(engine, built.id) for built in (first, second)]
    if outcome.same:
        engine.ask("tag", names[0], first.reference)
    else:
        outcome.differences.extend(_differences(engine, *names))
    for name in dict.fromkeys(names[1:] if outcome.same else names):
        if name != names[0] or not outcome.same:
            engine.ask("image", "rm", name)
    return outcome


def _differences(engine: Engine, first: str, second: str) -> list[str]:
    """Name the files in which two images differ."""
    one, other = contents.listing(engine, first), contents.listing(engine, second)
    found = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    told = [f"/{path}: {one.get(path, 'missing')} | {other.get(path, 'missing')}" for path in found[:TOLD]]
    return told + [f"and {len(found) - TOLD} more"] * (len(found) > TOLD)
