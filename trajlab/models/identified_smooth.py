"""Curves through sampled states, exact or noisy, and the first guess of an equation from their derivatives."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_interp_spline
from scipy.linalg import solveh_banded

from trajlab.models.identified_library import Equation

__all__ = ["first_guess", "smoothed"]

PENALTIES = tuple(10.0**p for p in np.arange(-7.0, 6.1, 0.5))
EDGE = 3  #: frames at each end where derivatives of the spline are not trusted


def _penalty(count: int) -> Float[np.ndarray, "4 time"]:
    """D'D for third differences D, in upper banded form."""
    rows = np.array([-1.0, 3.0, -3.0, 1.0])
    band = np.zeros((4, count))
    for i in range(4):
        for j in range(i, 4):
            band[3 - (j - i), j : count - 3 + j] += rows[i] * rows[j]
    return band


def smoothed(z: Float[np.ndarray, "time dim"]) -> tuple[Float[np.ndarray, "time dim"], float]:
    """Penalised least squares with third differences (Whittaker 1923), the penalty chosen by generalised cross-validation.

    The trace of the smoother is that of a ring, sum over frequencies of 1 / (1 + penalty (2 sin(w/2))^6).

    Returns:
        The smoothed series and the standard deviation of what was taken away, per degree of freedom; the series itself and 0 where smoothing does
        not pay.
    """
    count = len(z)
    band, gain = _penalty(count), (2.0 * np.sin(np.pi * np.arange(count) / count / 2.0)) ** 6
    best, found, noise = np.inf, z, 0.0
    for penalty in PENALTIES:
        matrix = penalty * band
        matrix[3] += 1.0
        curve = solveh_banded(matrix, z, check_finite=False)
        free = 1.0 - (1.0 / (1.0 + penalty * gain)).mean()
        loss = ((z - curve) ** 2).mean()
        if loss / free**2 < best:
            best, found, noise = loss / free**2, curve, float(np.sqrt(loss / free))
    return found, noise


def first_guess(equation: Equation, z: Float[np.ndarray, "time dim"], ridge: float = 1e-13) -> Equation:
    """Coefficients from derivatives of a spline of degree 5 through states: num . phi - z' (den . phi) = z', by least squares at frames and between.

    Source: the regression of Brunton et al. (2016), here dense; with denominators as of Kaheman et al. (2020).
    """
    spline = make_interp_spline(np.arange(len(z)), z, k=5)
    at = np.arange(EDGE, len(z) - 1 - EDGE, 0.5)
    state, slope = spline(at), spline(at, 1)
    phi = equation.library(state)
    below = equation.den.shape[1]
    step = np.zeros(len(equation.active))
    for i in range(z.shape[1]):
        mine = np.flatnonzero(equation.active[:, 0] == i)
        kind, feature = equation.active[mine, 2], equation.active[mine, 1]
        columns = np.where(kind == 1, -slope[:, i : i + 1] * phi[:, feature], phi[:, feature]) if below else phi[:, feature]
        size = np.sqrt((columns**2).mean(0)) + 1e-300
        scaled = columns / size
        gram = scaled.T @ scaled
        gram[np.diag_indices_from(gram)] += ridge * len(at)
        step[mine] = np.linalg.lstsq(gram, scaled.T @ slope[:, i], rcond=1e-15)[0] / size
    return equation.moved(step)
