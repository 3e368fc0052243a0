"""What came before the start of a delay equation, as pieces of polynomials in the form that the solver keeps its own past in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

if TYPE_CHECKING:
    from trajlab.dynamics.delay import DelayField

__all__ = ["History", "pieces"]

PIECES = 32  #: of a history that is a function
PLACES = 0.5 - 0.5 * np.cos(np.pi * np.arange(8) / 7)  #: where a piece is evaluated: Chebyshev points, ends included


@dataclass(frozen=True, eq=False)
class History:
    """Pieces of the past of a batch.

    Attributes:
        begin, size: ``[piece]``.
        base: ``[batch piece dim]``, values at the start of each piece.
        table: ``[batch piece 7 dim]``, coefficients as in `trajlab.dynamics.dop853`.
        last: ``[batch dim]``, the state at the end.
    """

    begin: Float64[np.ndarray, "piece"]
    size: Float64[np.ndarray, "piece"]
    base: Float64[np.ndarray, "batch piece dim"]
    table: Float64[np.ndarray, "batch piece 7 dim"]
    last: Float64[np.ndarray, "batch dim"]


def _basis(place: np.ndarray) -> np.ndarray:
    """The seven polynomials of DOP853's interpolant, ``[place 7]``: s, s(1-s), s^2(1-s), s^2(1-s)^2, ..."""
    factors = np.stack([place if k % 2 == 0 else 1.0 - place for k in range(7)], -1)
    return np.cumprod(factors, -1)


def pieces(field: DelayField, history: Any, start: float) -> History:
    """The pieces of a history that ends at ``start``.

    Raises:
        ValueError: the history has another shape than was wanted, or is not finite.
    """
    if callable(history):
        begin = start - field.longest + field.longest / PIECES * np.arange(PIECES)
        return _fitted(field, history, begin, field.longest / PIECES, start)
    given = np.asarray(history, dtype=np.float64)
    given = given[None] if given.ndim == 1 else given
    if given.ndim not in (2, 3) or given.shape[-1] != field.dim or not given.size:
        raise ValueError(f"{field.name}: a history of shape {np.shape(history)}; [batch {field.dim}] (constant), [batch sample {field.dim}] or a "
                         "function of time was wanted")
    _finite(field, given)
    if given.ndim == 2:
        base, size = given[:, None], np.array([field.longest])
        return History(start - size, size, base, np.zeros((len(given), 1, 7, field.dim)), given.copy())
    samples = given.shape[1]
    if samples < 2:
        raise ValueError(f"{field.name}: a history of one sample; pass [batch {field.dim}] for a constant one")
    from scipy.interpolate import CubicSpline

    clock = np.linspace(start - field.longest, start, samples)
    spline = CubicSpline(clock, given, axis=1) if samples > 3 else lambda t: _line(clock, given, t)
    return _fitted(field, spline, clock[:-1], field.longest / (samples - 1), start)


def _line(clock: np.ndarray, given: np.ndarray, t: float) -> np.ndarray:
    at = min(max(int(np.searchsorted(clock, t)) - 1, 0), len(clock) - 2)
    place = (t - clock[at]) / (clock[at + 1] - clock[at])
    return (1.0 - place) * given[:, at] + place * given[:, at + 1]


def _fitted(field: DelayField, function: Callable[[float], Any], begin: np.ndarray, size: float, start: float) -> History:
    values = [[np.atleast_2d(np.asarray(function(min(float(t), start)), dtype=np.float64)) for t in b + size * PLACES] for b in begin]
    shape = values[0][0].shape
    if len(shape) != 2 or shape[1] != field.dim:
        raise ValueError(f"{field.name}: the history returned shape {np.shape(function(start))}; [{field.dim}] or [batch {field.dim}] was wanted")
    nodes = np.stack([np.stack(piece, 1) for piece in values], 1)  # [batch piece place dim]
    _finite(field, nodes)
    base = np.ascontiguousarray(nodes[:, :, 0])
    table = np.einsum("kp,bnpd->bnkd", np.linalg.inv(_basis(PLACES[1:])), nodes[:, :, 1:] - base[:, :, None])
    return History(begin, np.full(len(begin), size), base, np.ascontiguousarray(table), nodes[:, -1, -1].copy())


def _finite(field: DelayField, values: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
    if len(bad):
        raise ValueError(f"{field.name}: {len(bad)} of {len(values)} histories are not finite (rows {bad[:5].tolist()})")
