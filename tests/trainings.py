"""Run inside a rendered project: many small trainings in one process, each told by its lines of Python."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import json
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import mlflow
import numpy as np
import pandas as pd
from pydantic import BaseModel
from sklearn.linear_model import LinearRegression

from bikes.reproducibility import ProjectError, Result
from bikes.reproducibility.execute import execute
from bikes.reproducibility.record import integrity, reader

CONF = {"seed": 1, "threads": 1}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Settings(BaseModel):
    seed: int
    threads: int
    nondeterminism: str = "raise"


def result(**metrics: Any) -> Result:
    """A model, fitted in a moment."""
    inputs = pd.DataFrame({"x": np.arange(6.0), "y": np.arange(6.0) ** 2})
    model = LinearRegression().fit(inputs, inputs.sum(axis=1))
    return Result(model, inputs, model.predict(inputs), metrics or {"accuracy": 0.5})


def training(lines: str) -> Any:
    """Turn lines into a `train`; they may return a result themselves."""
    body = textwrap.indent(textwrap.dedent(lines) + "\nreturn result()", "    ")
    names = {"np": np, "mlflow": mlflow, "sys": sys, "threading": threading, "result": result}
    exec(f"def train(settings, run):\n{body}", names)
    return names["train"]


def told(lines: str, conf: Any = CONF) -> dict[str, Any]:
    """Do one training, and tell what came of it."""
    said, outcome = io.StringIO(), {}
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            outcome["run"] = execute(lambda: (Settings, training(lines)), conf, ("seed=2",))
        except ProjectError as error:
            outcome |= {"cause": error.cause, "fix": error.fix}
        except Exception as error:
            outcome["raised"] = str(error)
    outcome["said"] = said.getvalue()
    outcome["left open"] = mlflow.active_run() is not None
    if "run" in outcome:
        run = mlflow.get_run(outcome["run"])
        folder = Path(mlflow.artifacts.download_artifacts(run_id=outcome["run"], artifact_path="record"))
        outcome["contradictions"] = integrity.contradictions(reader.read(outcome["run"], folder, run))
    return outcome


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


#: What may fail in a run, from its first step to its last.
POINTS = {
    "the conf": "bikes.reproducibility.conf.validate",
    "the launch environment": "bikes.reproducibility.randomness.launch.ensure",
    "the store": "bikes.reproducibility.store.tracking.connect",
    "the lock of a running training": "bikes.reproducibility.store.liveness.held",
    "beginning the run": "mlflow.start_run",
    "the first tag": "bikes.reproducibility.record.recorder.Recorder.start",
    "the seeds": "bikes.reproducibility.randomness.seeds.set_all",
    "looking at the code": "bikes.reproducibility.source.capture.capture",
    "the user's code": "trainings.result",
    "the metrics": "bikes.reproducibility.record.metrics.log",
    "the record": "mlflow.log_artifacts",
    "ending the run": "mlflow.MlflowClient.set_terminated",
}


def borrowed() -> Iterator[tuple[str, dict[str, Any]]]:
    """Let a run fail at each point, and tell what of the process is not as it was before."""

    def mine(*_: Any) -> None:
        """A handler of somebody's."""

    def train(settings: Any, run: Any) -> Result:
        return sys.modules["trainings"].result()

    def attempt(changed: Callable[[], Any]) -> dict[str, Any]:
        before = gc.isenabled(), gc.get_freeze_count(), gc.get_threshold(), handlers()
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            try:
                changed()
                ended = "well"
            except BaseException as error:
                ended = type(error).__name__
        after = gc.isenabled(), gc.get_freeze_count(), gc.get_threshold(), handlers()
        return {"ended": ended, "as before": before == after, "left open": mlflow.active_run() is not None}

    for number in SIGNALS:
        signal.signal(number, mine)
    for position, (what, point) in enumerate({"nothing": "", **POINTS}.items()):
        failure = (RuntimeError, KeyboardInterrupt)[position % 2]
        failing = mock.patch(point, side_effect=failure("planted")) if point else contextlib.nullcontext()
        (gc.disable if position % 4 < 2 else gc.enable)()

        def run(failing: Any = failing) -> None:
            with failing:
                execute(lambda: (Settings, train), CONF)

        outcome: dict[str, Any] = {}
        if in_thread := position % 3 == 2:
            thread = threading.Thread(target=lambda run=run, outcome=outcome: outcome.update(attempt(run)))
            thread.start()
            thread.join()
        else:
            outcome = attempt(run)
        gc.enable()
        yield what, outcome | {"thread": in_thread}


def main() -> None:
    sys.modules["trainings"] = sys.modules["__main__"]
    cases = json.loads(sys.argv[1])
    file = Path("confs", "tiny.yaml")
    file.write_text(json.dumps(CONF))
    # As a notebook may give it: the settings, a file from the project's folder, a file from anywhere.
    confs = itertools.cycle([CONF, str(file), file.resolve()])
    answer = dict(borrowed()) if cases is None else {name: told(cases[name], next(confs)) for name in cases}
    assert CONF == {"seed": 1, "threads": 1}, "the caller's"
    print("TOLD" + json.dumps(answer))


if __name__ == "__main__":
    main()
