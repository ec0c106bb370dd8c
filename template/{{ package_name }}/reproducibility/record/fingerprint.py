"""The numeric fingerprint: all that decides the last bits of a result, besides code, data and settings."""

from __future__ import annotations

import importlib
import os
import platform
import sysconfig
from pathlib import Path
from typing import Any

from ..common.gpus import gpus
from ..environment.installed import installed
from ..environment.lockfile import RUNTIME_LOCK, read_lock

#: Variables that keep a library from the kernels that the CPU would allow, and that nothing else recorded shows.
KERNEL_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
)
#: Variables by which numeric libraries choose their kernels. No others are recorded: they may hold secrets.
VARIABLES = (
    *KERNEL_VARIABLES,
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
)


def take() -> dict[str, Any]:
    """Describe this interpreter and machine; after training, when the numeric libraries are loaded.

    Returns
    -------
    dict
        What `machine` gives, and `blas` (per library: version, kernel, threads), `precision` (settings of the framework
        by which it computes with fewer bits) and `packages` (those of the runtime lock; .venv holds tools besides).
    """
    from ..framework import FRAMEWORK

    packages, locked = installed(Path(sysconfig.get_path("purelib"))), read_lock(RUNTIME_LOCK)
    return {
        **machine(),
        "blas": _blas(),
        "precision": FRAMEWORK.precision(),
        "packages": {name: version for name, version in packages.items() if name in locked},
    }


def machine() -> dict[str, Any]:
    """Describe this machine and its Python, with nothing but NumPy.

    Returns
    -------
    dict
        `python`, `machine`, `kernel`, `libc`, `cpu` (the model's name), `cores` (that this process may use),
        `cpu_features` (that NumPy uses), `gpu` (name and driver of each) and `variables`.
    """
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_features": cpu_features(),
        "gpu": gpus(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def cpu_features() -> list[str]:
    """List the features of the CPU that NumPy finds and was not told to leave alone."""
    return sorted(name for name, used in _numpy("__cpu_features__").items() if used)


def lacking(recorded: dict[str, Any]) -> list[str]:
    """List the CPU features that a recorded machine used and this one has not: its kernels cannot run here."""
    return sorted(set(recorded.get("cpu_features", [])) - set(cpu_features()))


def dispatch(recorded: dict[str, Any]) -> dict[str, str]:
    """Name the variables that make this machine's numeric libraries take the kernels of a recorded one.

    Parameters
    ----------
    recorded : dict
        The fingerprint of a run.

    Returns
    -------
    dict of str to str
        Empty where this CPU lacks what the recorded one used: OpenBLAS would crash in those kernels.
    """
    if lacking(recorded):
        return {}
    variables = {}
    kernels = {library["kernel"] for library in recorded.get("blas", []) if library["library"] == "openblas"}
    if len(kernels) == 1:
        variables["OPENBLAS_CORETYPE"] = kernels.pop()
    surplus = [name for name in _numpy("__cpu_dispatch__") if name not in recorded.get("cpu_features", [])]
    if surplus:
        variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(surplus)
    return variables


def _numpy(name: str) -> Any:
    # The public `numpy.show_runtime` prints the same, but gives nothing back.
    return getattr(importlib.import_module("numpy._core._multiarray_umath"), name)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _blas() -> list[dict[str, Any]]:
    from threadpoolctl import threadpool_info

    libraries = [
        {
            "library": library["internal_api"],
            "version": library["version"],
            "kernel": library.get("architecture", ""),
            "threads": library["num_threads"],
        }
        for library in threadpool_info()
    ]
    return sorted(libraries, key=str)
