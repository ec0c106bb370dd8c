"""What is particular to PyTorch: its switches, what its modules are made of and answer, and how they are stored."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import distributed
from .common.scratch import temporary_folder
from .modeling import torch_modules
from .modeling.base import Ended, Framework, self_contained

if TYPE_CHECKING:
    import torch


class PyTorch(Framework):
    """Modules, whatever they hold."""

    # cuBLAS repeats itself with a workspace of fixed size only.
    launch_variables = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # noqa: RUF012
    # MLflow then refuses a pickle, also one inside an archive.
    load_variables = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}  # noqa: RUF012
    loader = "mlflow.pytorch"
    forks = False  # its threads, and a GPU's, are not there in the child
    packages = ("torch.nn.", "torch.ao.nn.")

    def switches(self, warn_only: bool) -> dict[str, Callable[[], object]]:
        """Let PyTorch use deterministic algorithms only.

        Notes
        -----
        "Reproducibility" in PyTorch's documentation. The switches of cuDNN count on a GPU only.
        """
        import torch

        return {
            "torch.use_deterministic_algorithms(True)": lambda: torch.use_deterministic_algorithms(
                True, warn_only=warn_only
            ),
            "torch.backends.cudnn.benchmark = False": lambda: setattr(torch.backends.cudnn, "benchmark", False),
        }

    def precision(self) -> dict[str, str]:
        """Name the settings of TF32 and of reduced sums, and the type that new numbers have."""
        import torch

        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        return {
            "float32 matmul": torch.get_float32_matmul_precision(),
            "cudnn TF32": str(cudnn.allow_tf32),
            "float16 sums reduced": str(matmul.allow_fp16_reduced_precision_reduction),
            "bfloat16 sums reduced": str(matmul.allow_bf16_reduced_precision_reduction),
            "default type": torch_modules.name_of(torch.get_default_dtype()),
        }

    def nondeterministic_operation(self, error: BaseException) -> str | None:
        """Find the name in PyTorch's own words."""
        found = re.match(r"(.+?) does not have a deterministic implementation", str(error))
        return found[1] if found and isinstance(error, RuntimeError) else None

    def device(self) -> str:
        """Tell whether there is a GPU that PyTorch can use, and which, where several processes have one each."""
        import torch

        if not torch.cuda.is_available():
            return "cpu"
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        return f"cuda:{torch.cuda.current_device()}" if together else "cuda"

    def processes(self, settings: Mapping[str, Any]) -> int:
        """Go by the key `processes`, which confs of older projects have not."""
        count = settings.get("processes", 1)
        if not isinstance(count, int) or count <= 1:
            return 1
        distributed.require(count)
        return count

    def launch(self, command: list[str], processes: int, folder: Path) -> dict[int, Ended]:
        """Let torchrun's agent start and watch them."""
        return distributed.launch(command, processes, folder)

    def group(self, rank: int, processes: int, folder: Path) -> AbstractContextManager[None]:
        """Make them a process group of torch.distributed."""
        return distributed.group(rank, processes, folder)

    def set_seed(self, seed: int) -> dict[str, int]:
        """Seed the generators of the CPU and of every GPU."""
        import torch

        torch.manual_seed(seed)
        return {"torch": seed}

    def unpack(self, value: Any) -> Any:
        """Give what a module holds, by name, and tensors as they are on the CPU."""
        return torch_modules.unpack(value)

    def predict(self, model: Any, rows: Any) -> Any:
        """Predict from tensors, on the model's own device, in the mode of evaluation and without gradients."""
        import torch

        if not isinstance(model, torch.nn.Module):
            return super().predict(model, rows)
        first = next(chain(model.parameters(), model.buffers()), torch.empty(0))
        with _evaluating(model), torch.no_grad():
            return _mapped(model(_tensors(rows, first.device)), torch.Tensor, lambda part: part.cpu().numpy())

    def log_model(self, model: Any, beside: Mapping[str, Any], names: frozenset[str]) -> str:
        """Log a module's graph in PyTorch's export format, with its weights as safetensors beside it.

        What has no graph is put down by its structure.
        """
        import torch

        if isinstance(model, torch.nn.Module) and beside["signature"] is not None:
            with suppress(Exception):  # there are many kinds of code that export cannot take, each with its own error
                return self._log_graph(getattr(model, "_orig_mod", model), beside)
        return super().log_model(model, beside, names)

    def _log_graph(self, model: torch.nn.Module, beside: Mapping[str, Any]) -> str:
        import mlflow.pytorch
        from mlflow.models import ModelSignature, infer_signature
        from safetensors.torch import save_file

        example = _array(beside["input_example"])
        signature = ModelSignature(infer_signature(example).inputs, beside["signature"].outputs)
        with temporary_folder("model") as folder, warnings.catch_warnings(), _evaluating(model):
            warnings.simplefilter("ignore", FutureWarning)
            weights = folder / "weights.safetensors"
            # Cloned: tied weights share their memory, for which safetensors has no word.
            save_file({name: part.detach().cpu().clone() for name, part in model.state_dict().items()}, weights)
            info = mlflow.pytorch.log_model(
                model,
                **{**self_contained(beside), "signature": signature, "input_example": example},
                serialization_format="pt2",
                extra_files=[str(weights)],
            )
        return str(info.model_uri)

    def pack(self, value: Any) -> tuple[str, Any] | None:
        """Give tensors as arrays, and what PyTorch has names for by these."""
        return torch_modules.pack(value)

    def restore(self, kind: str, content: Any) -> Any:
        """Make what `pack` gave."""
        return torch_modules.restore(kind, content)


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put every part of a model into the mode of evaluation, and each back into its own."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _array(rows: Any) -> Any:
    """Give tables and columns as arrays, copied: PyTorch takes no read-only one."""
    return rows.to_numpy(copy=True) if hasattr(rows, "iloc") else rows


def _tensors(rows: Any, device: torch.device) -> Any:
    import numpy as np
    import torch

    arrays = _mapped(_array(rows), np.ndarray, lambda part: torch.from_numpy(np.array(part)))
    return _mapped(arrays, torch.Tensor, lambda part: part.to(device))


def _mapped(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """Change what is of a type, also in mappings and sequences."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(part, kind, change) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(part, kind, change) for part in value]
    return value


FRAMEWORK = PyTorch()
