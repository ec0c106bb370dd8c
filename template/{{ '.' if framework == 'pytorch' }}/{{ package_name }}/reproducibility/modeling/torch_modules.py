"""PyTorch's modules taken apart into plain values, and made of these again."""

from __future__ import annotations

import types
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Of a module's hooks those that have a part in what it answers.
FORWARD_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def unpack(value: Any) -> Any:
    """Give what a module holds, by name, and tensors as they are on the CPU."""
    import torch

    match value:
        case torch.Tensor():
            return _values(value)
        case torch.nn.Module() if hasattr(value, "_orig_mod"):  # compiled
            return value._orig_mod
        case torch.nn.Module():
            return SimpleNamespace(**_held(value))
        case torch.Generator():
            return value.get_state()
        case torch.optim.Optimizer() | torch.optim.lr_scheduler.LRScheduler():
            return None  # it serves the training alone
    return value


def pack(value: Any) -> tuple[str, Any] | None:
    """Give tensors as arrays, and what PyTorch has names for by these."""
    import torch

    match value:
        case torch.Tensor() if type(value) in {torch.Tensor, torch.nn.Parameter, torch.nn.Buffer}:
            tensor = value.detach().cpu().contiguous()
            content = {
                "shape": list(tensor.shape),
                "type": name_of(tensor.dtype),
                "bytes": tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else None,
                "trains": value.requires_grad,
            }
            return type(value).__name__, content
        case torch.nn.Module() if hasattr(value, "_orig_mod"):
            return "compiled", value._orig_mod
        case torch.optim.Optimizer() | torch.optim.lr_scheduler.LRScheduler():
            return "training", None
        case torch.dtype():
            return "dtype", name_of(value)
        case torch.device():
            return "device", "cpu"
        case torch.Size():
            return "size", list(value)
        case types.BuiltinFunctionType() if value is _operation(value.__name__):
            return "operation", value.__name__
    return None


def restore(kind: str, content: Any) -> Any:
    """Make what `pack` gave."""
    import torch

    match kind:
        case "compiled" | "training":
            return content
        case "dtype":
            return _dtype(content)
        case "device":
            return torch.device(content)
        case "size":
            return torch.Size(content)
        case "operation":
            return _operation(content)
    flat = torch.empty(0, dtype=_dtype(content["type"]))
    if content["bytes"] is not None:
        flat = torch.from_numpy(content["bytes"].copy()).view(_dtype(content["type"]))
    tensor = flat.reshape(content["shape"])
    if kind == "Tensor":
        return tensor.requires_grad_(content["trains"])
    if kind == "Buffer":
        return torch.nn.Buffer(tensor)
    return torch.nn.Parameter(tensor, requires_grad=content["trains"])


def _held(module: torch.nn.Module) -> dict[str, Any]:
    """Give what a module holds: attributes, what it stores, submodules, and hooks that change answers; not its mode."""
    import torch

    internal = {*vars(torch.nn.Module()), "_compiled_call_impl"}
    if isinstance(module, torch.jit.ScriptModule):
        internal |= vars(module).keys()
    held = {name: value for name, value in vars(module).items() if name not in internal}
    with torch.no_grad():
        module._save_to_state_dict(held, "", True)  # the packed weights of quantized modules are nowhere else
    held |= {name: [*vars(module)[name].values()] for name in FORWARD_HOOKS if vars(module).get(name)}
    if isinstance(module, torch.jit.ScriptModule):
        held["code"] = module.code if hasattr(module, "forward") else ""
        return held | dict(module.named_buffers(recurse=False)) | dict(module.named_children())
    held |= module._buffers
    held |= module._modules
    return held


def _values(tensor: torch.Tensor) -> Any:
    """Give what decides about a tensor's content: the same for a parameter, a subclass, on any device."""
    import torch

    if torch.nn.parameter.is_lazy(tensor) or tensor.is_meta:
        return str(tensor.dtype)
    plain = tensor.detach().as_subclass(torch.Tensor).cpu()
    if plain.is_quantized:
        if plain.qscheme() in {torch.per_tensor_affine, torch.per_tensor_symmetric}:
            return [plain.int_repr(), plain.q_scale(), plain.q_zero_point()]
        return [plain.int_repr(), plain.q_per_channel_scales(), plain.q_per_channel_zero_points()]
    return plain if type(tensor) is not torch.Tensor or plain.device != tensor.device else tensor


def name_of(dtype: torch.dtype) -> str:
    """Name a type of numbers, as in `torch.float32`, without its module."""
    return str(dtype).removeprefix("torch.")


def _dtype(name: str) -> torch.dtype:
    import torch

    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise TypeError(f"torch.{name} is no type of numbers")
    return found


def _operation(name: str) -> Any:
    """Find an operation of PyTorch's own, such as `torch.relu`; None where there is none of that name."""
    import torch

    found = [getattr(space, name, None) for space in (torch, torch.nn.functional)]
    return next((one for one in found if isinstance(one, types.BuiltinFunctionType)), None)
