"""What a clock says of the hour, the weekday and the season."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.units import factor

__all__ = ["PERIODS", "calendar", "hours"]

PERIODS = {"day": 24.0, "week": 24.0 * 7, "year": 24.0 * 365.2425}  #: hours


def hours(time: Tensor, unit: str) -> Float[Tensor, "*batch"]:
    """Hours since 1970-01-01 00:00 of the clock; a clock without a unit counts hours."""
    return time.double() * (1.0 if unit == "1" else factor("time", unit, "h"))


def calendar(time: Tensor, unit: str, clocks: Sequence[str] = tuple(PERIODS)) -> Float[Tensor, "*batch channel"]:
    """Sine and cosine of the time of day, of the week and of the year of a clock that counts from 1970-01-01 00:00 (a Thursday) in ``unit``."""
    at = hours(time, unit)
    angles = [2 * math.pi * torch.remainder(at / period, 1) for period in (PERIODS[c] for c in clocks)]
    return torch.stack([f(a) for a in angles for f in (torch.sin, torch.cos)], -1).float()
