"""How far a sweep is, for who waits: a bar in the terminal, a line a batch elsewhere."""

from __future__ import annotations

import math
import queue
import time
from collections import Counter
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ..common import terminal
from .definition import Sweep
from .description import BEST_CONF
from .rows import Row

if TYPE_CHECKING:
    import pandas as pd

#: Seconds after which a signal is seen at the latest, or that there are more workers.
PAUSE = 0.5


class Progress:
    """Shows a sweep to a person.

    Parameters
    ----------
    sweep : Sweep
        What is done.
    run_id : str
        Its run.
    """

    def __init__(self, sweep: Sweep, run_id: str) -> None:
        self._sweep = sweep
        self._run_id = run_id
        self._console = terminal.console()
        self._causes: Counter[str] = Counter()
        self._best: tuple[float, int] | None = None
        self._began = time.monotonic()
        self._done = 0
        total = sweep.count * sweep.repeats
        how = f"{sweep.count:,} trials by {sweep.sampler}" if sweep.space else f"{sweep.repeats:,} {sweep.repeated}"
        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("trials", total=total)
        self._every = max(1, total // 10)
        self._console.print(Text(f"sweep {run_id}: {how}"))

    def __enter__(self) -> Progress:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    def wait(self, ended: queue.SimpleQueue[Future[Any]]) -> Future[Any] | None:
        """Wait a moment for the next that ends; not for ever, as a signal that another thread is given wakes nobody."""
        try:
            return ended.get(timeout=PAUSE)
        except queue.Empty:
            self._bar.refresh()
            return None

    def settle(self, row: Row, value: float | None) -> None:
        """Show that a run of a trial came to its end."""
        self._done += 1
        if row.cause:
            self._causes[row.cause.partition(":")[0]] += 1
        elif value is not None and math.isfinite(value) and self._is_better(value):
            self._best = value, row.number
        self._bar.update(self._task, advance=1, description=self._said())
        if self._bar.disable and self._done % self._every == 0:
            self._console.print(Text(f"{self._done:>6,}  {self._said()}"))

    def tell(self, notice: str) -> None:
        """Show something that a person should know, above the bar."""
        self._console.print(Text("notice", "yellow").append(f": {notice}", "default"))

    def show_spread(self, table: pd.DataFrame) -> None:
        """Show how much the metrics depend on the seed, or on what is held out."""
        self._bar.stop()
        interval = ["95 % of the mean"] if "low" in table else []
        shown = Table("metric", "mean", "spread", *interval, "min", "max", self._sweep.repeated, **terminal.PLAIN)
        for name, row in table.iterrows():
            ends = [f"{_short(row['low'])} to {_short(row['high'])}"] if interval else []
            cells = [_short(row["mean"]), _short(row["spread"]), *ends, _short(row["min"]), _short(row["max"])]
            shown.add_row(Text(str(name)), *cells, str(int(row["runs"])))
        self._console.print(shown)

    def show_kept(self, number: int, repeats: bool, run_id: str) -> None:
        """Show what came of training a trial once more, for its model."""
        self._bar.stop()
        if repeats:
            self._line("kept", f"model and pictures of trial {number}, which was trained once more: identical")
            return
        self.tell(
            f"trial {number} was trained once more for its model, and its result is DIFFERENT, so that nothing "
            f"of it is kept. What parts: just reproduce {run_id[:8]}      `keep: all` stores the model of every trial."
        )

    def show_best(self, best: Row, value: float) -> None:
        """Show the best trial; of folds none has a model of all rows, but there is a conf of it."""
        self._bar.stop()
        points = ", ".join(f"{path}={_short(number)}" for path, number in best.point.items())
        self._line("best", f"{_short(value)} {self._sweep.metric}, trial {best.number}: {points}")
        if self._sweep.folds > 1:
            self._line("its model", f"just train --config runs:/{self._run_id}/{BEST_CONF}")
        else:
            self._line("its run", f"{best.run}      just reproduce {best.run[:8]}")

    def finish(self, outcome: str) -> None:
        """Show what came of it."""
        self._bar.stop()
        if self._causes:
            causes = ", ".join(f"{count} x {cause}" for cause, count in self._causes.most_common(3))
            self._line("failed", f"{self._causes.total()} of {self._done}: {causes}")
        self._line("result", outcome[:19])
        self._line("sweep", f"{self._run_id}      just reproduce {self._run_id[:8]}")

    def _line(self, name: str, said: str) -> None:
        self._console.print(Text(f"{name:<10} {said}"))

    def _is_better(self, value: float) -> bool:
        return self._best is None or self._sweep.is_better(value, self._best[0])

    def _said(self) -> str:
        minutes = (time.monotonic() - self._began) / 60
        best = f"best {_short(self._best[0])} (trial {self._best[1]})  " if self._best else ""
        failed = f"  {self._causes.total()} failed ({self._causes.most_common(1)[0][0]})" if self._causes else ""
        return f"{best}{self._done / max(minutes, 1e-9):.0f}/min{failed}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
