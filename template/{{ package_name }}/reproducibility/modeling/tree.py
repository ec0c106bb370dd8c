"""A tree of digests, in which every difference has a name."""

from __future__ import annotations

import re
from collections import deque

#: Nodes that a record names. What lies below is told apart as one.
NAMED = 2000


class Node:
    """A part of a model.

    Parameters
    ----------
    digest : str
        Of this part, with all that it holds.
    children : dict of str to Node
        What it holds, by what leads there in Python: ".name", "[0]" or "['key']".
    """

    __slots__ = ("children", "digest")

    def __init__(self, digest: str, children: dict[str, Node]) -> None:
        self.digest = digest
        self.children = children

    def named(self, name: str = "model") -> dict[str, str]:
        """Give the digest of every part under its path, from the whole down; at most `NAMED`."""
        found: dict[str, str] = {}
        pending = deque([(name, self)])
        while pending and len(found) < NAMED:
            path, node = pending.popleft()
            found[path] = node.digest if len(node.digest) < 64 else node.digest[:23]
            pending.extend((path + step, child) for step, child in node.children.items())
        return found


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Name the parts in which two contents differ, such as "model.steps[0][1].idf_", as far down as both were named."""
    found = sorted(path for path in {*one, *other} if one.get(path) != other.get(path))
    inner = {path[: match.start()] for path in found for match in re.finditer(r"[.\[(]", path)}
    return [path for path in found if path not in inner]
