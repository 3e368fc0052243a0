"""What is known of a Lyapunov spectrum after some windows at two step sizes: means, error bars, and what speaks against them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["Lyapunov", "entropy", "kaplan_yorke"]

GROWTH = 7.0  #: a separation that grows less than e^7 over a window may be shear, which grows like the logarithm of time
CERTAIN = 3.0  #: errors by which an exponent must differ from zero
DISAGREE = 3.0  #: window-to-window over within-window standard error from which windows disagree
SUM = 1e-3  #: relative difference of sum and divergence that is told


def kaplan_yorke(exponents: Any) -> float:
    """Kaplan-Yorke dimension j + (l_1 + .. + l_j)/|l_{j+1}| with the largest j whose sum is not negative.

    0 where the largest exponent is negative, and the number of exponents where all their sums are not. Source: Kaplan & Yorke (1979).

    Args:
        exponents: ``[k]``, in any order.

    Raises:
        ValueError: there are none, or they are not finite.
    """
    values = _spectrum(exponents)
    sums = np.cumsum(values)
    j = int(np.sum(sums >= 0)) if sums[0] >= 0 else 0
    # Sums of falling terms rise and then fall, so those that are not negative are the first ones.
    return float(j) if j in (0, len(values)) else j + float(sums[j - 1] / abs(values[j]))


def entropy(exponents: Any) -> float:
    """Sum of the positive exponents, an upper bound of the metric entropy and equal to it for SRB measures (Pesin 1977). Per time, in nats.

    Raises:
        ValueError: there are none, or they are not finite.
    """
    values = _spectrum(exponents)
    return float(values[values > 0].sum())


def _spectrum(exponents: Any) -> np.ndarray:
    values = np.sort(np.asarray(exponents, dtype=np.float64).reshape(-1))[::-1]
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"exponents {values.tolist()}; at least one and only finite ones were wanted")
    return values


@dataclass(frozen=True, eq=False)
class Lyapunov:
    """Exponents of a system with their errors. Rates are per unit of the system's time (maps: per step).

    Attributes:
        blocks: logarithms of growth over the blocks of each window, divided by their length, ``[window block k]``, at the finer step; k falls.
        coarse: the same at the coarser step; None where there is no step (maps).
        divergences: mean divergence of the field (maps: log |det J|) over the blocks, ``[window block]``; None where there is none (delays).
        duration: of a window.
        dim: of the phase space; exponents may be fewer.
        name: of the system.
        period: a time scale of it, or None.
        rtol: relative tolerances of the finer and the coarser step.
        exact: whether derivatives are exact to rounding, or by central differences.
        evaluations: of the right-hand side with its Jacobian, in all.
        escaped: whether longer windows met an orbit that left for infinity.
    """

    blocks: Float[np.ndarray, "window block k"]
    coarse: Float[np.ndarray, "window block_ k"] | None
    divergences: Float[np.ndarray, "window block"] | None
    duration: float
    dim: int
    name: str = "system"
    period: float | None = None
    rtol: tuple[float, ...] = ()
    exact: bool = True
    evaluations: int = 0
    escaped: bool = False

    @cached_property
    def windows(self) -> Float[np.ndarray, "window k"]:
        """Exponents of each window."""
        return self.blocks.mean(1)

    @cached_property
    def exponents(self) -> Float[np.ndarray, " k"]:
        """Means over the windows, from the largest down."""
        return self.windows.mean(0)

    @cached_property
    def standard_error(self) -> Float[np.ndarray, " k"]:
        """Of the mean: the larger of that from window to window (few of them, but whatever is slow) and that from block to block within windows."""
        return np.maximum(self._between, self._within)

    @cached_property
    def _between(self) -> np.ndarray:
        count = len(self.windows)
        return self.windows.std(0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(self.windows.shape[1])

    @cached_property
    def _within(self) -> np.ndarray:
        windows, blocks, _ = self.blocks.shape
        return np.sqrt(self.blocks.var(1, ddof=1).mean(0) / (windows * blocks)) if blocks > 1 else np.zeros(self.windows.shape[1])

    @cached_property
    def step_change(self) -> Float[np.ndarray, " k"]:
        """Exponents at the coarser step minus those at the finer one; zeros where there is but one step."""
        return np.zeros_like(self.exponents) if self.coarse is None else self.coarse.mean((0, 1)) - self.exponents

    @cached_property
    def error(self) -> Float[np.ndarray, " k"]:
        """Standard error and step change, in quadrature."""
        return np.hypot(self.standard_error, self.step_change)

    @property
    def largest(self) -> float:
        return float(self.exponents[0])

    @property
    def sum(self) -> float:
        """Of all exponents; NaN where they are fewer than the dimension."""
        return float(self.exponents.sum()) if len(self.exponents) == self.dim else float("nan")

    @property
    def divergence(self) -> float:
        """Mean divergence of the field along the orbits, integrated beside them; maps: mean log |det J|."""
        return float("nan") if self.divergences is None else float(self.divergences.mean())

    @cached_property
    def mismatch(self) -> float:
        """Largest difference over the windows of sum and divergence, over the larger of |divergence| and the largest |exponent|."""
        if self.divergences is None or len(self.exponents) < self.dim:
            return float("nan")
        apart = np.abs(self.windows.sum(1) - self.divergences.mean(1)).max()
        return float(apart / max(abs(self.divergence), np.abs(self.exponents).max(), 1e-300))

    @property
    def zero(self) -> int:
        """Index of the exponent nearest to zero: an autonomous flow that does not come to rest has one at zero."""
        return int(np.abs(self.exponents).argmin())

    @property
    def kaplan_yorke(self) -> tuple[float, float]:
        """Kaplan-Yorke dimension and its error; that of a truncated spectrum whose sum is positive is a lower bound."""
        values = self.exponents
        dimension = kaplan_yorke(values)
        j = int(dimension)
        if dimension == 0 or j >= len(values):
            return dimension, 0.0
        top = np.sqrt((self.error[:j] ** 2).sum())
        return dimension, float(np.hypot(top, (dimension - j) * self.error[j]) / abs(values[j]))

    @property
    def entropy(self) -> tuple[float, float]:
        """Sum of the exponents that are positive by more than two errors, and its error, to which all that might be positive contribute."""
        positive, possible = self.exponents > 2 * self.error, self.exponents > -2 * self.error
        return float(self.exponents[positive].sum()), float(np.sqrt((self.error[possible] ** 2).sum()))

    @property
    def chaotic(self) -> bool:
        """Whether the largest exponent is positive by three errors and separations grow by e^7 at least over a window."""
        return bool(self.largest > CERTAIN * self.error[0] and self.largest * self.duration > GROWTH)

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """What speaks against the numbers; empty where nothing does."""
        found = []
        size = np.abs(self.exponents).max()
        if not self.chaotic:
            certain = abs(self.largest) * self.duration > GROWTH
            found.append("undecided" if self.largest > 0 and certain else "not chaotic")
        if self._apart().any():
            found.append("windows disagree")
        if self.coarse is not None:
            noise = CERTAIN * np.sqrt(2) * self.standard_error + 1e-3 * size + 1.0 / self.duration
            if (np.abs(self.step_change) > noise).any():
                found.append("not converged")
        if self.escaped:
            found.append("an orbit escapes")
        if self.mismatch > SUM:
            found.append("sum is not the divergence")
        return tuple(found)

    def _apart(self) -> np.ndarray:
        """Exponents whose windows differ by more than chance, and by more than a tenth of the largest exponent."""
        spread = self.windows.max(0) - self.windows.min(0)
        return (self._between > DISAGREE * self._within) & (spread > max(0.1 * abs(self.largest), 3.0 / self.duration))

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.4g}±{error:.2g}" for value, error in zip(self.exponents, self.error))
        told = f"; {', '.join(self.flags)}" if self.flags else ""
        return f"Lyapunov({self.name}: {shown}; D_KY {self.kaplan_yorke[0]:.3f}{told})"
