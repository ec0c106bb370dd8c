"""Files of text, packed or not."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: How a packed file begins, and what opens it, by pandas' name of it.
PACKED: dict[str, tuple[bytes, Callable[..., Any]]] = {
    "gzip": (b"\x1f\x8b", gzip.open),
    "bz2": (b"BZh", bz2.open),
    "xz": (b"\xfd7zXZ\x00", lzma.open),
}
#: A separator: any number of spaces and tabs.
WHITESPACE = r"\s+"


def open_text(file: Path, read: Mapping[str, Any]) -> Any:
    """Open a table as text, as its `read:` says."""
    opener = PACKED[read["compression"]][1] if "compression" in read else open
    return opener(file, "rt", encoding=read.get("encoding", "utf-8-sig"), newline="")
