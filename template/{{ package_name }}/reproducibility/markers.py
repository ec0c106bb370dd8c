"""Refuse the conflict markers of a template update in what is about to be committed."""

from __future__ import annotations

from .project import ProjectError, command_line
from .source import run_git

#: What `just template-update` and `copier update` write beside the markers.
MARKER = r"^(<<<<<<<|>>>>>>>) (yours|template |before updating|after updating)"


def main() -> None:
    """Look at every file that git tracks.

    Raises
    ------
    ProjectError
        If one has such a line.
    """
    try:
        found = run_git("grep", "-I", "-l", "-E", MARKER, "--", ".").decode().split("\n")
    except ProjectError:  # git says so where it finds nothing, and outside a repository
        return
    raise ProjectError(
        f"conflict markers of a template update are left in {', '.join(filter(None, found))}.",
        "Keep what is right of the lines between <<<<<<< and >>>>>>>, and delete the markers.",
    )


if __name__ == "__main__":
    command_line(main)
