"""Hands the runs of trials to an engine, each with a run of its own, and does again what is lost."""

from __future__ import annotations

import queue
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from ..common.errors import ProjectError
from ..engines.engine import Engine
from ..engines.jobs import CRASHED, FAILED, FINISHED, TRIES, Job, Outcome
from . import code, definition
from .description import Description
from .ledger import Ledger
from .progress import Progress
from .rows import Row

Key = tuple[int, int]


class Dispatcher:
    """Has runs of trials done.

    Parameters
    ----------
    run_id : str
        The sweep's run.
    description : Description
        The sweep.
    engine : Engine
        Where trials are computed.
    ledger : Ledger
        Where they are remembered.
    progress : Progress
        Where a person sees what goes on.

    Attributes
    ----------
    code : dict of str to str
        The digest of each file that trials have imported so far.
    """

    def __init__(
        self, run_id: str, description: Description, engine: Engine, ledger: Ledger, progress: Progress
    ) -> None:
        self._run_id = run_id
        self._about = description
        self._sweep = description.definition
        self._engine = engine
        self._ledger = ledger
        self._progress = progress
        self.code = code.recorded(run_id)
        self._cpus: list[list[str]] = []

    def execute(self, wanted: Mapping[Key, Mapping[str, Any]], whole: bool) -> Iterator[Row]:
        """Do runs of trials, as many at once as the engine can, and give what came of each as soon as it is known.

        Parameters
        ----------
        wanted : Mapping of (int, int) to dict
            The values of the trial, by its number and that of the run of it.
        whole : bool
            Whether models and pictures are stored, too.

        Raises
        ------
        ProjectError
            If one is lost again and again, the engine ends, or the code is edited meanwhile. One whose process crashes
            every time has failed by itself.
        """
        waiting = deque(wanted)
        made: deque[tuple[Key, str]] = deque()
        begun: Counter[Key] = Counter()
        ended: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        going: dict[Future[Outcome], tuple[Key, str]] = {}

        def make() -> None:
            key = waiting.popleft()
            begun[key] += 1
            made.append((key, self._ledger.begin(*key, wanted[key])))

        def begin() -> None:
            while (made or waiting) and len(going) < self._engine.width:
                if not made:
                    make()
                key, run_id = made.popleft()
                future = self._engine.submit(self._job(key, wanted[key], run_id, whole))
                going[future] = key, run_id
                future.add_done_callback(ended.put)
            if waiting and not made:
                make()  # no worker waits until the store has made the next run

        while waiting or made or going:
            if not going:
                self._engine.wait()  # its workers may all be gone
            begin()
            done = self._progress.wait(ended)
            if done is None:  # there may be more workers now
                continue
            key, run_id = going.pop(done)
            begin()  # no worker waits for what the store says of the one that ended
            outcome = done.result()
            row = self._ledger.row(run_id) if outcome.status in (FINISHED, FAILED) else None
            if outcome.status == CRASHED and begun[key] == TRIES:
                row = self._ledger.fail(run_id, outcome.cause)
            if row:
                self._require_same_code(outcome.modules, run_id)
                self._tell_of_another_cpu(outcome.features, row)
                yield row
                continue
            self._ledger.drop(run_id)
            if begun[key] == TRIES:
                raise self._lost(key, outcome)
            waiting.appendleft(key)

    def _job(self, key: Key, point: Mapping[str, Any], run_id: str, whole: bool) -> Job:
        base = self._about.base
        settings = definition.settings(base, point, self._sweep.of_repeat(base, key[1]))
        return Job(run_id, self._about.step, settings, self._about.standing, whole)

    def _require_same_code(self, modules: Mapping[str, str], run_id: str) -> None:
        """Stop where a trial was of other code than those before it: they could not be compared."""
        if path := code.other(self.code, modules):
            self._ledger.drop(run_id)
            raise code.edited(path, self._run_id)
        if modules.keys() - self.code.keys():
            self.code |= modules
            code.record(self.code)

    def _tell_of_another_cpu(self, features: list[str], row: Row) -> None:
        """Say so once where trials are computed on several kinds of CPU: their bits need not be those of one."""
        if features and features not in self._cpus:
            self._cpus.append(features)
            if len(self._cpus) > 1:
                parted = ", ".join(sorted({*features} ^ {*self._cpus[0]}))
                self._progress.tell(
                    f"trial {row.number} was computed on another kind of CPU than the first ({parted}): "
                    "reproduced on the other kind, such runs can be equivalent, and need not be identical."
                )

    def _lost(self, key: Key, outcome: Outcome) -> ProjectError:
        return ProjectError(
            f"trial {key[0]} was lost {TRIES} times: {outcome.cause or 'nobody knows how it ended'}.",
            f"Mend that, then: just sweep --resume {self._run_id}",
        )
