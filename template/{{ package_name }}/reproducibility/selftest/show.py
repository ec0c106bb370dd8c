"""The outcome of a self-test as a table: in a terminal, and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..common import exit_codes

STYLES = {"equal": "green", "DIFFERS": "bold red", "NOT": "bold red", "matters": "yellow", "not tried": "dim"}
REPEATS = {True: "training repeats on this machine", False: "training does NOT repeat on this machine"}


def rows(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give what was tried, and what came of it.

    Parameters
    ----------
    content : dict
        The outcome, as `plan.run` gives it.
    """
    for training in (*content["trainings"], content["resumed"]):
        if training["times"] < 2:
            yield training["name"], f"not tried: {training['parts']}"
        elif training["equal"]:
            yield f"{training['name']}, {training['times']} times", "equal to the last bit"
        else:
            yield training["name"], f"DIFFERS in {training['parts']}"
    if devices := content["devices"]:
        verdict = "equivalent" if devices["equivalent"] else "NOT equivalent"
        apart = f"largest difference {devices['largest difference']:.2g} of {devices['largest prediction']:.2g}"
        if devices["agree"] < 1:
            apart += f"; {devices['agree']:.2%} of the predictions agree"
        yield f"the GPU against the CPU, {devices['steps']} plain steps", f"{verdict}, {apart}"
    for name, outcome in content["switches"].items():
        yield f"without {name}", outcome
    for name, outcome in content["operations"].items():
        if outcome != "repeats":
            yield name, "DIFFERS, and nothing says so" if outcome == "differs" else outcome
    if repeating := [name for name, outcome in content["operations"].items() if outcome == "repeats"]:
        yield "the other operations", f"repeat, all {len(repeating)}"


def text(content: dict[str, Any]) -> str:
    """Write the table, with the answer below it."""
    table = list(rows(content))
    width = max(len(name) for name, _ in table)
    lines = [f"{name:<{width}}  {outcome}" for name, outcome in table]
    return "\n".join([*lines, "", REPEATS[content["repeats"]]])


def show(content: dict[str, Any]) -> None:
    """Print the table in colours."""
    from rich.table import Table
    from rich.text import Text

    from ..common import terminal

    console = terminal.console()
    table = Table("what was tried", "outcome", **terminal.PLAIN)
    for name, outcome in rows(content):
        style = next((style for word, style in STYLES.items() if outcome.startswith(word)), "")
        table.add_row(Text(name), Text(outcome, style))
    console.print(table)
    console.print(Text(f"\n{REPEATS[content['repeats']]}", "bold green" if content["repeats"] else "bold red"))


def page(content: dict[str, Any]) -> str:
    """Write the table as one HTML page, with the machine that it is about."""
    from ..proof import page as html  # a bare machine has no Jinja

    machine = content["machine"]
    facts = {
        "date": content["date"],
        "device": content["device"],
        "GPU": "; ".join(machine["gpu"]) or "none",
        **{name: machine[name] for name in ("cpu", "cores", "kernel", "libc", "python")},
        **machine["precision"],
        **machine["packages"],
    }
    tried = [(name, outcome, not outcome.startswith("DIFFERS")) for name, outcome in rows(content)]
    steps = f"{content['steps']} steps of the stress workload in each training."
    verdict = exit_codes.IDENTICAL if content["repeats"] else exit_codes.DIFFERENT
    sections = [
        html.Section("What was tried", (), ("what", "outcome", ""), tried),
        html.Section("On", (), ("what", "which"), [(name, str(value)) for name, value in facts.items()]),
    ]
    return html.page("Self-test", REPEATS[content["repeats"]], verdict, [steps], sections)
