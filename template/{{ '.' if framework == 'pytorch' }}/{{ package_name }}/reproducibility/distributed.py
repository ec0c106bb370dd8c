"""Processes that train one network together: started and watched by torchrun's agent, on this machine alone."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .common.errors import ProjectError
from .modeling.base import Ended

#: Seconds that a process has to end in when it is told to.
PATIENCE = 15
#: Lines that are shown of a process which ended without a word.
LAST = 20


def require(processes: int) -> None:
    """Refuse to start so many processes where they could not talk, or would share a GPU.

    Raises
    ------
    ProjectError
        Saying what is missing.
    """
    import torch
    import torch.distributed as dist

    one = "Train in one process: --set processes=1"
    if os.name != "posix":
        raise ProjectError("several processes train together on Linux and macOS only.", one)
    if not dist.is_available() or not dist.is_gloo_available():
        raise ProjectError(f"PyTorch {torch.__version__} was built without torch.distributed, or without gloo.", one)
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise ProjectError(
            f"{processes} processes want a GPU each, and there {'is 1' if gpus == 1 else f'are {gpus}'}.",
            f"--set processes={gpus}; or CUDA_VISIBLE_DEVICES= before the command, and they compute on the CPU.",
        )


def launch(command: list[str], processes: int, folder: Path) -> dict[int, Ended]:
    """Run a command in processes that train together; see `Framework.launch`."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # A store of TCP, which the agent would share with them, listens on every interface. They meet in files.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # such as: looking for unused parameters found none
    logger = logging.getLogger("torch.distributed.elastic")  # what went wrong is told once, by `multiprocess`
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="training",
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "agent"),
        rdzv_configs={"store_type": "file"},
        local_addr="127.0.0.1",
        max_restarts=0,
        signals_to_handle="",  # they are answered by `interrupts`
        shutdown_timeout=PATIENCE,
        logs_specs=DefaultLogsSpecs(str(folder / "logs"), dict.fromkeys(range(1, processes), Std.ALL)),
    )
    try:
        elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        return {
            rank: Ended(failure.exitcode, failure.timestamp, _last_lines(folder, rank))
            for rank, failure in error.failures.items()
        }
    return {}


@contextmanager
def group(rank: int, processes: int, folder: Path) -> Iterator[None]:
    """Meet the other processes of a training: over NCCL where each has its GPU, else over gloo."""
    import torch
    import torch.distributed as dist

    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), loopback)
    store = dist.FileStore(str(folder / "group"), processes)
    dist.init_process_group(backend, store=store, rank=rank, world_size=processes)
    yield  # after an error nobody waits for the others: they may wait for this one
    dist.destroy_process_group()


def _last_lines(folder: Path, rank: int) -> str:
    logs = [log.read_text("utf-8", "replace") for log in folder.glob(f"logs/*/*/{rank}/stderr.log")]
    return "".join(f"{line}\n" for line in "".join(logs).splitlines()[-LAST:])
