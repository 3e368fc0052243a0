"""The leading exponents of a delay system with error bars, in the form of those of vector fields: windows and two step sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from trajlab.dynamics.delay import DelayField
from trajlab.dynamics.delay_lyapunov import delay_exponents
from trajlab.dynamics.lyapunov_result import Lyapunov

__all__ = ["delay_spectrum"]

HALVED = 2.0**8


def delay_spectrum(system: DelayField, x0: Any, duration: float, count: int | None, rtol: float, seed: int) -> Lyapunov:
    """The ``count`` (4) largest exponents of a delay system, one window a constant history; see `trajlab.dynamics.lyapunov.lyapunov`.

    A delay system has infinitely many exponents, whose sum is minus infinity: there is no divergence to compare with.

    Args:
        x0: constant histories, ``[window dim]``; before each window the orbit runs for a tenth of it, and at least 20 delays.

    Raises:
        ValueError: shapes disagree, the duration is shorter than 10 delays, or an orbit ended early.
        trajlab.dynamics.compiled.Refused: there is no compiler, or it does not take the function.
    """
    starts = np.atleast_2d(np.asarray(x0, dtype=np.float64))
    if starts.ndim != 2 or starts.shape[1] != system.dim:
        raise ValueError(f"{system.name}: constant histories of shape {starts.shape}; [window {system.dim}] was wanted")
    many = 4 if count is None else count
    before = max(0.1 * duration, 20.0 * system.longest)
    told = [[delay_exponents(system, start, duration, many, transient=before, rtol=tolerance, atol=tolerance, seed=seed) for start in starts]
            for tolerance in (rtol, HALVED * rtol)]
    fine, coarse = (np.stack([_pair(window) for window in row]) for row in told)
    return Lyapunov(fine, coarse, None, float(duration), _dimension(many), system.name, getattr(system, "period", None), (rtol, HALVED * rtol),
                    all(window.exact for window in told[0]), sum(window.steps for row in told for window in row))


def _pair(window: Any) -> np.ndarray:
    """Two blocks, ``[2 k]``, whose mean and whose standard error of the mean are those of the window."""
    return np.stack([window.exponents + window.error, window.exponents - window.error])


def _dimension(many: int) -> int:
    """More than are listed: of the infinitely many."""
    return many + 1
