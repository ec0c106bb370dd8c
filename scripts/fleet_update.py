"""`just fleet-update`: update projects, also those of versions that have no `just template-update` yet."""

from __future__ import annotations

import argparse
import traceback
from pathlib import Path

import harness


def main() -> int:
    """Update one project after another.

    Returns
    -------
    int
        0 if nothing is left to do in any, 1 if something is, 3 if one could not be updated.
    """
    parser = argparse.ArgumentParser(
        prog="just fleet-update", description="Update projects to the newest release of the template they came from."
    )
    parser.add_argument("paths", nargs="+", type=Path, help="the folders of the projects")
    parser.add_argument("--check", action="store_true", help="only say what would be brought")
    given = parser.parse_args()
    update, errors = harness.load("template_update"), harness.load("project")
    worst = 0
    for path in given.paths:
        print(f"\n=== {path}", flush=True)
        try:
            code = update.main(path.resolve(), ["--check"] if given.check else [])
        except errors.ProjectError as error:
            code = error.show()
        except Exception:  # one project's trouble is not the next one's
            traceback.print_exc()
            code = 3
        worst = max(worst, code)
    return worst


if __name__ == "__main__":
    harness.load("project").command_line(main)
