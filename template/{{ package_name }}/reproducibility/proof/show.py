"""What `reproduce`, `verify`, `compare` and `runs` print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ..common import terminal
from ..common.project import MAIN
from .compare import MEANINGS, Comparison, few

if TYPE_CHECKING:
    from .explain import Proof


def show(comparison: Comparison, replayed: str = "") -> None:
    """Print a comparison: stages, metrics, differences, verdict."""
    console = terminal.console()
    table = Table("", comparison.a.name[:12], (replayed or comparison.b.name)[:12], "", **terminal.PLAIN)
    for row in comparison.stages:
        digests = [(value or "missing").removeprefix("sha256:")[:12] for value in (row.a, row.b)]
        table.add_row(Text(row.name), *digests, _mark(row.equal))
    for row in comparison.metrics:
        values = ("" if value is None else repr(value) for value in (row.a, row.b))
        table.add_row(Text(row.name), *values, _mark(row.equal))
    console.print(table)
    if comparison.differences:
        parted = "recorded differences, the most likely cause first:" if comparison.remarks else "without effect:"
        console.print(f"\n{parted}")
    for difference in comparison.differences:
        console.print(Text(f"  {difference.cause:<9} {few(difference.details)}"))
    verdict = comparison.verdict
    console.print(Text(f"\n{verdict}", terminal.VERDICTS[verdict]).append(f": {MEANINGS[verdict]}", "default not bold"))
    for remark in comparison.remarks:
        console.print(Text(remark))
    if replayed:
        console.print(Text(f"kept as run {replayed}, with report.html"))


def show_plan(record: Any, steps: Iterable[tuple[str, str]]) -> None:
    """Print what a reproduction would do."""
    console = terminal.console()
    console.print(Text(f"To reproduce run {record.name}, nothing of this is done yet:"))
    told = [*steps]
    width = max(len(part) for part, _ in told)
    for part, what in told:  # no table: it would break a path or a digest at the end of a line
        console.print(Text(f"{part:<{width}}  {what}"))


def show_proof(proof: Proof) -> None:
    """Print which differences were proven to be causes."""
    console = terminal.console()
    if not proof.repeats:
        console.print(Text("no cause is named: the second run does not even repeat itself.", "bold red"))
        console.print("Two replays of it differ, so it draws on something that was not recorded: just verify")
        return
    console.print()
    for cause, stages in proof.causes.items():
        if stages:
            console.print(
                Text(f"proven    {cause}", "bold").append(f" changes {', '.join(stages)}", "default not bold")
            )
        else:
            console.print(Text(f"no cause  {cause}: with or without it the result is the same"))
    for cause, why in proof.untried.items():
        console.print(Text(f"untried   {cause}: {why}"))
    if proof.together is None:
        console.print("No recorded difference was proven to be a cause.")
    elif proof.together:
        console.print("With these taken back, the second run gives the first one's result, to the last bit.")
    else:
        console.print("With these taken back the results still differ: something else was at work too.")


def show_runs(runs: Iterable[Any], nothing: str) -> None:
    """Print recent runs: what came of each, and what it was; a `+` says that work was not committed.

    Parameters
    ----------
    runs : iterable of mlflow.entities.Run
        Of columns that are wider than the terminal the last are left out, and named.
    nothing : str
        What is said where there are none.
    """
    found = list(runs)
    if not found:
        print(nothing)
        return
    console = terminal.console()
    columns = _columns(found)
    fitting = _fitting(columns, console.width)
    table = Table(**terminal.PLAIN)
    for name in fitting:
        table.add_column(Text(name), no_wrap=True)
    for cells in zip(*(columns[name] for name in fitting), strict=True):
        table.add_row(*cells)
    console.print(table)
    if left_out := [name for name in columns if name not in fitting]:
        console.print(Text(f"a wider terminal also shows {', '.join(left_out)}"))


def _columns(runs: list[Any]) -> dict[str, list[Text]]:
    """Give the columns of a list of runs, those first that matter most."""
    digits = _digits([run.info.run_id for run in runs])
    tags = [run.data.tags for run in runs]
    steps = [_step(own) for own in tags]
    columns = {
        "run": [run.info.run_id[:digits] for run in runs],
        "verdict": [_verdict(own) for own in tags],
        "result": [own.get("repro.result", "").removeprefix("sha256:")[:8] for own in tags],
        "commit": [own.get("repro.commit", "")[:8] + "+" * (own.get("repro.dirty") == "true") for own in tags],
        **({"step": steps} if {*steps} - {MAIN, ""} else {}),
        "started": [_local_time(run.info.start_time) for run in runs],
        "status": [run.info.status for run in runs],
    }
    for name in list(dict.fromkeys(name for run in runs for name in sorted(run.data.metrics)))[:4]:
        columns[name] = [f"{run.data.metrics[name]:.5g}" if name in run.data.metrics else "" for run in runs]
    return {name: [cell if isinstance(cell, Text) else Text(cell) for cell in cells] for name, cells in columns.items()}


def _fitting(columns: Mapping[str, list[Text]], width: int) -> list[str]:
    """Name the columns that fit side by side, from the left."""
    fitting: list[str] = []
    taken = 0
    for name, cells in columns.items():
        taken += max(len(name), *(cell.cell_len for cell in cells)) + 2
        if taken - 2 <= width:
            fitting.append(name)
    return fitting


def _verdict(tags: Mapping[str, str]) -> Text:
    verdict = tags.get("repro.verdict", "")
    of = f" of {tags['repro.reproduces'][:8]}" if "repro.reproduces" in tags else ""
    return Text(verdict + of, terminal.VERDICTS.get(verdict, ""))


def _digits(ids: list[str]) -> int:
    """Say how many digits tell runs apart: eight, or as many as it takes."""
    return next(count for count in range(8, 33) if len({run[:count] for run in ids}) == len(ids))


def _step(tags: Mapping[str, str]) -> str:
    """Name the step of a run; of one that has others below it, what they are together."""
    groups = (name for tag, name in {"repro.standing": "pipeline", "repro.sweep": "sweep"}.items() if tag in tags)
    return tags.get("repro.step") or next(groups, "")


def _mark(equal: bool) -> Text:
    return Text("=", "green") if equal else Text("differs", "bold red")


def _local_time(milliseconds: int) -> str:
    import datetime

    return datetime.datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M")
