"""The parts of pages that recipes write, each between two marks."""

from __future__ import annotations

import re


def fill(page: str, begin: str, end: str, part: str) -> str:
    """Put a part between its marks.

    Parameters
    ----------
    page : str
        The whole text.
    begin, end : str
        The marks, each a line.
    part : str
        What stands between them, with an empty line before and after.

    Returns
    -------
    str
        The whole text.
    """
    return re.sub(f"(?s)(?<={re.escape(begin)}).*?(?={re.escape(end)})", lambda _: f"\n{part}\n", page)
