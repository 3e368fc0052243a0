"""What the nets for sequences share: the check of a call."""

from __future__ import annotations

from torch import Tensor

__all__ = ["check"]


def check(net: str, x: Tensor, inputs: int) -> None:
    """Whether sequences fit a net.

    Raises:
        ValueError: not ``[batch time inputs]``, or no frames.
    """
    if x.ndim != 3 or x.shape[2] != inputs or not x.shape[1]:
        raise ValueError(f"{net}: the sequences have shape {tuple(x.shape)}; [batch time {inputs}] with at least one frame was wanted")
