"""Records by hand: what the harness checks of them needs no training."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import load

HASH = "0123456789abcdef0123456789abcdef01234567"
PARAMS = {"conf.seed": "1", "conf.threads": "2"}


@functools.cache
def _told() -> dict[str, Any]:
    """What a run of all that there is tells of itself: nested repositories, files left out, a library of kernels."""
    inner = load("source.snapshot").Source(Path("/p/lib"), "lib", HASH, "false", HASH, converted={"a.txt": "sha256:a"})
    outer = dataclasses.replace(inner, path="", dirty="true", repositories=[inner])
    outer.left_out.append({"path": "big.bin", "why": "large", "digest": "sha256:b"})
    library = {"library": "openblas", "version": "1", "kernel": "Haswell", "threads": 2}
    return {
        "project": "bikes",
        "code": {**outer.content(), "modules": {"bikes.train": "sha256:e"}},
        "seeded": {"numpy": 1},
        "launch": {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "2"},
        "environment": {
            **load("record.fingerprint").machine(),
            "as_locked": True,
            "blas": [library],
            "precision": {"tf32": "off"},
            "packages": {"numpy": "2.5.0"},
        },
        "data": {
            "table": {
                "path": "data/t.csv",
                "digest": "sha256:d",
                "size": 3,
                "source": "here",
                "licence": "none",
                "read": {},
            }
        },
    }


def write_record(folder: Path, model: dict[str, str], accuracy: float = 0.5) -> Any:
    """Write a whole record, and give its tags."""
    digest = load("common.digest")
    schema = load("record.schema")
    folder.mkdir(parents=True)
    (folder / "conf.yaml").write_text("seed: 1\nthreads: 2\n")
    (folder / "constraints.txt").write_text("mlflow==3.17.2\n")
    pd.DataFrame({"prediction": np.arange(5.0)}).to_parquet(folder / "predictions.parquet")
    lock = digest.of_file(folder / "constraints.txt")
    stages = {name: digest.of_value(name) for name in ("weights", "predictions")}
    stages["metrics"] = digest.of_value({"accuracy": accuracy})
    told = _told()
    content = {
        **told,
        "schema": schema.SCHEMA_VERSION,
        "environment": {**told["environment"], "lock": lock},
        "model": {"kind": "convex", "files": model},
        "stages": stages,
        "metrics": {"accuracy": accuracy.hex()},
        "result": schema.digest_of_result(stages),
        "files": schema.files(folder),
    }
    (folder / "record.json").write_text(json.dumps(content))
    return {
        "repro.commit": HASH,
        "repro.data": '{"table": "sha256:d"}',
        "repro.environment": lock,
        "repro.record": digest.of_file(folder / "record.json"),
        "repro.result": content["result"],
        "repro.seed": "1",
    }
