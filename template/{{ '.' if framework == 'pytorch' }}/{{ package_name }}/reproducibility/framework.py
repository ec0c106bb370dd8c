"""What is particular to PyTorch: its switches, the content of its models, and how they are stored."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

#: Environment variables that only this framework needs: cuBLAS repeats itself with a workspace of fixed size only.
LAUNCH_VARIABLES: dict[str, str] = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}

#: Variables that only this framework reads its number of threads from; PyTorch reads the common ones.
THREAD_VARIABLES: tuple[str, ...] = ()

#: The module of MLflow that loads the models of `log_model`.
LOADER = "mlflow.pytorch"

#: Environment variables for loading a stored model unseen: MLflow then refuses a pickle, also one inside an archive.
LOAD_VARIABLES: dict[str, str] = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def set_deterministic(warn_only: bool) -> None:
    """Let PyTorch use deterministic algorithms only.

    Parameters
    ----------
    warn_only : bool
        Let an operation that has none pass with a warning. Otherwise it is an error.

    Notes
    -----
    "Reproducibility" in PyTorch's documentation. The switches of cuDNN count on a GPU only.
    """
    import torch

    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    torch.backends.cudnn.benchmark = False


def nondeterministic_operation(error: BaseException) -> str | None:
    """Name the operation without a deterministic form that ended a training; None if something else did."""
    found = re.match(r"(\S+) does not have a deterministic implementation", str(error))
    return found[1] if found and isinstance(error, RuntimeError) else None


def device() -> str:
    """Tell where the framework computes: on a GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def set_seed(seed: int) -> dict[str, int]:
    """Seed the generators of the CPU and of every GPU."""
    import torch

    torch.manual_seed(seed)
    return {"torch": seed}


def weights(model: Any) -> Any:
    """Give every parameter and buffer of a module, in a form that `digest.of_value` takes.

    Parameters
    ----------
    model : torch.nn.Module
        A trained module.

    Returns
    -------
    dict of str to numpy.ndarray
    """
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}


def probe(model: Any, inputs: Any) -> Any:
    """Let a module predict for the first held-out rows.

    Parameters
    ----------
    model : torch.nn.Module
        The trained module, on the CPU.
    inputs : pandas.DataFrame, shape (n, features)
        The held-out rows; at most 100 are used.

    Returns
    -------
    numpy.ndarray, shape (rows,) or (rows, outputs)
    """
    import torch

    model.eval()
    with torch.no_grad():
        return model(torch.from_numpy(inputs.head(100).to_numpy(copy=True))).numpy()


def kind(model: Any) -> dict[str, str]:
    """Say what a model is, by which `compare` judges the difference between two machines.

    Returns
    -------
    dict of str to str
        `class`, and `kind`: "other", since rounding grows while a network is trained.
    """
    return {"class": f"{type(model).__module__}.{type(model).__qualname__}", "kind": "other"}


def log_model(model: Any, inputs: Any, predictions: Any, requirements: str) -> str:
    """Log a module without pickle: its graph in PyTorch's export format, and its weights as safetensors beside it.

    Parameters
    ----------
    model : torch.nn.Module
        The trained module, on the CPU.
    inputs : pandas.DataFrame, shape (n, features)
        Rows as the model takes them; the first five become its example.
    predictions : numpy.ndarray, shape (n,)
        What it predicts for them.
    requirements : str
        Path of the lock that the model needs.

    Returns
    -------
    str
        URI of the logged model.
    """
    import mlflow.pytorch
    import numpy as np
    from mlflow.models import infer_signature
    from safetensors.torch import save_file

    rows = inputs.to_numpy(copy=True)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        weights_file = Path(scratch, "weights.safetensors")
        save_file(model.eval().state_dict(), weights_file)
        info = mlflow.pytorch.log_model(
            model,
            name="model",
            signature=infer_signature(rows, np.asarray(predictions)),
            input_example=rows[:5],
            pip_requirements=requirements,
            serialization_format="pt2",
            extra_files=[str(weights_file)],
            metadata={"columns": list(inputs.columns)},
        )
    return str(info.model_uri)


def refusal(flavors: dict[str, Any]) -> str | None:
    """Say why a stored model must not be loaded unseen, or None if it may be.

    Parameters
    ----------
    flavors : dict
        The flavours of the stored MLmodel file, which name `LOADER` and no code of their own.
    """
    return None  # MLflow itself looks into the archive: see LOAD_VARIABLES
