"""The int8 matrix products that torch brings, and which of them runs here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trajlab.catalog import unknown

#: ``packed``: quantised linear of torch's fbgemm or x86 engine, float in and out (CPU); ``int_mm``: int8 x int8 -> int32 (CPU and CUDA).
KERNELS = ("packed", "int_mm")
ENGINES = ("x86", "fbgemm")


def engines() -> list[str]:
    """Quantised engines of this build of torch that have the packed kernel."""
    # torch has announced that quantised tensors will go; int_mm remains then.
    fused = hasattr(torch, "_make_per_channel_quantized_tensor") and hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32")
    return [e for e in ENGINES if fused and e in torch.backends.quantized.supported_engines]


def available(device: torch.device) -> list[str]:
    """Kernels that run on a device, fastest first."""
    found = []
    if device.type == "cpu" and engines():
        # Without VNNI the packed kernel adds pairs of products in 16 bits, which can saturate.
        exact = getattr(torch.cpu, "_is_vnni_supported", lambda: True)()
        found = ["packed"] if exact else []
    if device.type in ("cpu", "cuda") and hasattr(torch, "_int_mm"):
        found.append("int_mm")
    return found


def choose(kernel: str, device: torch.device) -> str:
    """The kernel that is meant by a name; ``auto`` is the fastest.

    Raises:
        ValueError: an unknown kernel, or none for the device.
    """
    if kernel not in ("auto", *KERNELS):
        raise ValueError(unknown("int8 kernel", kernel, ("auto", *KERNELS)))
    found = available(device)
    if not found or kernel not in ("auto", *found):
        wanted = "int8 kernel" if kernel == "auto" else f"int8 kernel {kernel!r}"
        raise ValueError(
            f"no {wanted} for device {device.type!r} in torch {torch.__version__} (engines: {torch.backends.quantized.supported_engines}); "
            + (f"use kernel={found[0]!r}" if found else "move the module to the CPU before it is quantised, or keep it in floating point")
        )
    return found[0] if kernel == "auto" else kernel


def product(kernel: str, weight: Tensor, scale: Tensor, bias: Tensor | None, step: float, zero: int) -> Callable[[Tensor], Tensor]:
    """x ``[row in]`` float32 -> quantised x times quantised weight, plus bias, float32.

    Args:
        kernel: of `KERNELS`.
        weight: ``[out in]``, int8.
        scale: ``[out]``.
        bias: ``[out]`` float32, or None.
        step, zero: quantiser of x: 8 bits, 0 to 255.
    """
    if kernel == "packed":
        return _packed(weight, scale, bias, step, zero)
    # int8 holds q - 128; what that and the zero point shift is the same for all rows.
    shift = (128 - zero) * weight.sum(1, dtype=torch.float32) * scale.float() * step
    offset = shift if bias is None else shift + bias
    columns, each = weight.t(), (scale * step).float()

    def run(x: Tensor) -> Tensor:
        q = (x / step).round_().add_(zero - 128).clamp_(-128, 127).to(torch.int8)
        return torch._int_mm(q, columns).float().mul_(each).add_(offset)

    return run


def _packed(weight: Tensor, scale: Tensor, bias: Tensor | None, step: float, zero: int) -> Callable[[Tensor], Tensor]:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engines()[0]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*")
            held = torch._make_per_channel_quantized_tensor(weight, scale.double(), torch.zeros(len(scale), dtype=torch.long), 0)
        packed: Any = torch.ops.quantized.linear_prepack(held, bias)
    finally:
        torch.backends.quantized.engine = before
    fused = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
    return lambda x: fused(x, step, zero, packed)
