"""Masks that say where something was observed, windows of log-SNR, and their checks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trajlab.samplers.sample import shaped


def where(mask: Tensor, value: Tensor, x: Tensor) -> Tensor:
    """``value`` where ``mask`` is True and ``x`` elsewhere; a mask's axes are the first ones of x. NaN where nothing was observed does no harm.

    Raises:
        ValueError: the mask's axes are not those of x, or ``value`` does not broadcast to x.
    """
    fits("the observed value", value, x)
    return torch.where(shaped(mask, x) != 0, value.to(x), x)


def fits(what: str, value: Tensor, x: Tensor) -> None:
    """Refuse a tensor that does not broadcast to a state."""
    padded = (1,) * (x.ndim - value.ndim) + tuple(value.shape)
    if len(padded) != x.ndim or any(here not in (1, there) for here, there in zip(padded, x.shape)):
        raise ValueError(f"{what} has shape {tuple(value.shape)} and the state {tuple(x.shape)}; give it the state's shape")


def inside(window: tuple[float, float], lam: Any) -> Any:
    """Whether a log-SNR (a number, or one a row) lies in a closed window."""
    return (lam >= window[0]) & (lam <= window[1]) if isinstance(lam, Tensor) else window[0] <= lam <= window[1]


def check_window(window: tuple[float, float]) -> None:
    """Refuse a window of log-SNR that is not an interval."""
    if not window[0] < window[1]:
        raise ValueError(f"a window of log-SNR runs from low to high, noise to data; {window} came")


def check_eta(eta: float) -> None:
    """Refuse an eta outside [0, 1]."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta = {eta:g}; 0 (no fresh noise, DDIM) to 1 (ancestral) was wanted")
