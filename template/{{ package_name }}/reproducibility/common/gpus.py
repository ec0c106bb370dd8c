"""The GPUs of this machine."""

from __future__ import annotations

import functools
import re
import subprocess

#: Seconds that `nvidia-smi` has to answer in.
PATIENCE = 20.0


@functools.cache
def gpus() -> list[str]:
    """List name and driver of each GPU; none where `nvidia-smi` fails, hangs, or says anything else."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = answer.stdout.splitlines() if answer.returncode == 0 else []
    return [line for line in lines if re.fullmatch(r"[^,]+, \d[\w.]*", line)]
