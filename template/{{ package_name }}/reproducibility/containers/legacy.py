"""A Dockerfile as Docker's legacy builder can read it, which knows no mounts."""

from __future__ import annotations

import re


def rewritten(text: str) -> str:
    """Rewrite a Dockerfile: the index as an argument of a stage of its own, which leaves it and uv's cache behind.

    The editor's stage is left out: this builder would build it too, which no run needs.
    """
    stages = re.split(r"(?m)^(?=FROM )", text)
    text = "".join(stage for stage in stages if not re.match(r"FROM \S+ AS dev\b", stage))
    argument = 'ARG PACKAGE_INDEX=""\nRUN eval "$(printenv PACKAGE_INDEX)"; '
    text = re.sub(r"(?m)^RUN( --mount=\S+)+ ", argument, text)
    copied = "FROM base AS project\nCOPY --from=environment /opt/venv /opt/venv\n"
    return text.replace("FROM environment AS project\n", copied)
