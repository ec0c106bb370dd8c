"""How much of each room of the harness the fast tests execute, as coverage.py measured it: a table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict

from rich.console import Console
from rich.table import Table

from harness import FOLDER, FRAMEWORK, TEMPLATE


def main() -> int:
    """Print a row for each room; modules at the top count as one."""
    coverage = [sys.executable, "-m", "coverage"]
    root = TEMPLATE.parent
    subprocess.run([*coverage, "combine", "--quiet"], cwd=root, check=True)
    done = subprocess.run([*coverage, "json", "--quiet", "-o", "-"], cwd=root, check=True, capture_output=True)
    rooms: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    barely: dict[str, list[str]] = defaultdict(list)
    for name, file in json.loads(done.stdout)["files"].items():
        for folder in (FOLDER, FRAMEWORK):
            if (path := root / name).is_relative_to(folder):
                module = path.relative_to(folder)
                room = module.parts[0] if len(module.parts) > 1 else "(top)"
                summary = file["summary"]
                rooms[room][0] += summary["num_statements"]
                rooms[room][1] += summary["covered_lines"]
                if summary["percent_covered"] < 50:
                    barely[room].append(module.stem)
    table = Table("room", "statements", "executed", "less than half of", title="The fast tests, by room")
    for room, (statements, covered) in sorted(rooms.items()):
        table.add_row(room, f"{statements}", f"{covered / max(statements, 1):.0%}", ", ".join(sorted(barely[room])))
    total, executed = (sum(counts) for counts in zip(*rooms.values(), strict=True))
    table.add_section()
    table.add_row("all", f"{total}", f"{executed / total:.0%}", "")
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
