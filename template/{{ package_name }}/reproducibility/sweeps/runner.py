"""The trials of a sweep, batch by batch, each a tracked run; and what came of them, in the sweep's own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..common.errors import ProjectError
from . import definition, pictures, rows, spread
from .course import Course
from .description import BEST, BEST_CONF, Description
from .dispatcher import Dispatcher, Key
from .ledger import Ledger, key_of
from .progress import Progress
from .rows import Row

if TYPE_CHECKING:
    import pandas as pd

#: Seconds between two looks that people are given at the table and the pictures of a sweep that goes on.
PAUSE = 30


class Runner:
    """Does the trials of a sweep.

    Parameters
    ----------
    run_id : str
        The sweep's run, which is MLflow's active one.
    description : Description
        The sweep.
    dispatcher : Dispatcher
        Has runs of trials done.
    ledger : Ledger
        Where they are remembered.
    progress : Progress
        Where a person sees what goes on.
    keep : set of int
        Trials whose models and pictures are stored besides those that the sweep stores anyway.
    """

    def __init__(
        self,
        run_id: str,
        description: Description,
        dispatcher: Dispatcher,
        ledger: Ledger,
        progress: Progress,
        keep: frozenset[int],
    ) -> None:
        self.run_id = run_id
        self.description = description
        self.sweep = description.definition
        self.metric = key_of(self.sweep.metric)
        self.dispatcher = dispatcher
        self.progress = progress
        self.keep = keep
        self.ledger = ledger
        self.known = ledger.settled(dispatcher.code)
        self.course = Course(self.sweep)
        self.rows: dict[Key, Row] = {}
        self._shown = time.monotonic()

    def run(self) -> None:
        """Do all trials that are not done yet.

        Raises
        ------
        ProjectError
            If no trial logs the metric, all of the first batch fail, a trial is lost again and again, or the code is
            edited meanwhile. What is done stays done.
        """
        for points in self.course.batches():
            self._do(points)
            self.course.take(rows.values(self.rows, points, self.sweep, self.metric))
            self._require_some(len(points))
            self._show()
        self._finish()

    def _do(self, points: Mapping[int, dict[str, Any]]) -> None:
        """Do a batch, as far as it is not done."""
        keys = [(number, repeat) for number in points for repeat in range(self.sweep.repeats)]
        missing = {key: points[key[0]] for key in keys}
        for key in keys:
            if key in self.known and self.known[key].point == points[key[0]]:
                self._settle(self.known[key])
                del missing[key]
        for row in self.dispatcher.execute(missing, whole=self.sweep.keep == "all"):
            self._settle(row)

    def _settle(self, row: Row) -> None:
        if self.metric and not row.cause and self.metric not in row.metrics:
            raise ProjectError(
                f"no trial logs the metric {self.sweep.metric!r}; they log {', '.join(sorted(row.metrics))}.",
                "Write one of these under `metric:` in the conf of the sweep.",
            )
        self.rows[row.number, row.repeat] = row
        self.progress.settle(row, row.metrics.get(self.metric))

    def _require_some(self, tried: int) -> None:
        """Stop early where everything fails: the rest would too."""
        if self.course.best is None:
            causes = Counter(row.cause or f"{self.sweep.metric} is no number" for row in self.rows.values())
            lines = "\n".join(f"  {count} x {cause}" for cause, count in causes.most_common(5))
            raise ProjectError(
                f"all of the first {tried} trials failed:\n{lines}",
                f"Mend that, then: just sweep      What each printed is in its run: log.txt of {self.rows[0, 0].run}",
            )

    def _show(self) -> None:
        """Show in the store how far it is, as often as people look and no store is flooded."""
        import mlflow

        if self.metric and self.course.best:
            mlflow.log_metric(self.metric, self.course.best[0], step=max(number for number, _ in self.rows))
        if time.monotonic() - self._shown > PAUSE:
            self._draw()
            self._shown = time.monotonic()

    def _draw(self) -> None:
        """Log the table of all trials, their pictures, and the best conf."""
        import mlflow

        table = pictures.table(self.rows.values(), self.sweep, self.metric)
        mlflow.log_text(table.to_csv(index=False), "sweep/trials.csv")
        figures = {}
        if self.sweep.repeats > 1:
            mlflow.log_text(self._spread().to_csv(), f"sweep/{self.sweep.repeated}.csv")
            figures[self.sweep.repeated] = pictures.repeats(self._best_runs())
        if self.metric and self.course.best:
            best = self._best_runs()[0]
            figures |= pictures.draw(self.course.planner.study, self.sweep)
            more = {"folds": self.sweep.folds} if self.sweep.folds > 1 else {}
            mlflow.log_dict(definition.settings(self.description.base, best.point, more), BEST_CONF)
        for name, figure in figures.items():
            mlflow.log_figure(figure, f"sweep/{name}.png")

    def _best_runs(self) -> list[Row]:
        """Give the runs of the best trial that finished: of one of seeds or folds alone, some may have failed."""
        number = self.course.best[1] if self.course.best else 0
        runs = (self.rows[number, repeat] for repeat in range(self.sweep.repeats))
        return [run for run in runs if not run.cause]

    def _spread(self) -> pd.DataFrame:
        return spread.table(self._best_runs(), interval=self.sweep.repeated == "seeds")

    def _keep(self) -> None:
        """Train the best trial once more, for its model and its pictures, and those that somebody wants them of.

        What then has another result does not repeat: that is told, and nothing of it is kept.
        """
        best: set[int] = set()
        if self.metric and self.course.best and self.sweep.folds == 1:
            best = {self.course.best[1]}
        light = {(number, 0): self.rows[number, 0] for number in best | self.keep if not self.rows[number, 0].whole}
        points = {key: row.point for key, row in light.items()}
        for row in self.dispatcher.execute(points, whole=True):
            key = row.number, row.repeat
            if row.result == light[key].result:
                self.ledger.replace(light[key].run)
                self.rows[key] = row
            else:
                self.ledger.drop(row.run)
            self.progress.show_kept(row.number, row.result == light[key].result, light[key].run)

    def _finish(self) -> None:
        import mlflow

        self._keep()
        self._draw()
        outcome = rows.digest_of(self.rows.values(), self.metric)
        if self.sweep.repeats > 1:
            self.progress.show_spread(self._spread())
        best = ""
        if self.metric and self.course.best:
            if self.sweep.folds == 1:
                best = self._best_runs()[0].run
                mlflow.set_tag(BEST, best)
            self.progress.show_best(self._best_runs()[0], self.course.best[0])
        verdict = f"not reproduced yet: `just reproduce {self.run_id} --sample 3`"
        mlflow.set_tags({"repro.result": outcome} | self.description.note(verdict, best))
        self.progress.finish(outcome)
