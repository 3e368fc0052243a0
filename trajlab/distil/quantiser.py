"""Uniform quantisers and the search of their scales.

    q = clip(round(x / s) + z, 0, 2^b - 1),    x^ = s (q - z)

The scale minimises mean |x - x^|^2.4 over 100 candidates (PTQ4DM, Shang et al. 2023); weights have one scale an output channel; vectors
one scale for their norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

POWER, CANDIDATES = 2.4, 100


@dataclass(frozen=True)
class Quantiser:
    """One scale for everything.

    Attributes:
        scale: s > 0.
        zero: z, the integer that stands for 0.
        bits: 2 to 8.

    Raises:
        ValueError: a scale that is not positive and finite, bits outside 2 to 8, or a zero outside the integers there are.
    """

    scale: float
    zero: int
    bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not 0 < self.scale < float("inf"):
            raise ValueError(f"scale {self.scale} came; a positive finite number was wanted")
        if not 0 <= self.zero < 2**self.bits:
            raise ValueError(f"zero {self.zero} came; an integer of 0 to {2**self.bits - 1} was wanted at {self.bits} bits")

    @classmethod
    def between(cls, low: float, high: float, bits: int = 8) -> Quantiser:
        """The quantiser whose 2^b levels span [low, high]; 0 is made one of them, so that zeros and padding stay exact.

        Raises:
            ValueError: low is above 0 or high below it, or both are 0.
        """
        check_bits(bits)
        if not (low <= 0 <= high and low < high):
            raise ValueError(f"a range from {low:g} to {high:g} came; it must hold 0 and be wider than that")
        scale = (high - low) / (2**bits - 1)
        return cls(scale, round(-low / scale), bits)

    @property
    def range(self) -> tuple[float, float]:
        """The first and last level."""
        return -self.zero * self.scale, (2**self.bits - 1 - self.zero) * self.scale

    def quantise(self, x: Tensor) -> Tensor:
        """The integers, in the dtype of ``x``."""
        return (x / self.scale).round_().add_(self.zero).clamp_(0, 2**self.bits - 1)

    def __call__(self, x: Tensor) -> Tensor:
        """The nearest levels: within s/2 of ``x`` inside the range."""
        return self.quantise(x).sub_(self.zero).mul_(self.scale)


def check_bits(bits: int) -> None:
    """Refuse what int8 kernels cannot hold."""
    if not 2 <= bits <= 8:
        raise ValueError(f"{bits} bits came; 2 to 8 was wanted")


def fit(values: Tensor, bits: int = 8, power: float = POWER, candidates: int = CANDIDATES) -> Quantiser:
    """The quantiser of least mean |x - x^|^power: both ends of the observed range shrunk together, then each alone (one-sided data have one end).

    Args:
        values: any shape; what the quantiser will see.
        bits: 2 to 8.
        power: of the loss; 2 gives the least noise, more protects the tails.
        candidates: ranges that are tried in each of the passes.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    check_bits(bits)
    flat = values.detach().double().flatten()
    if not len(flat) or not bool(torch.isfinite(flat).all()):
        raise ValueError(f"{len(flat)} values came, {int((~torch.isfinite(flat)).sum())} of them not finite; a quantiser is fitted to finite values")
    low, high = min(float(flat.min()), 0.0), max(float(flat.max()), 0.0)
    if low == high:
        return Quantiser(1.0, 0, bits)
    best = _shrunk(flat, (low, high), (True, True), bits, power, candidates)
    for moved in ((True, False), (False, True)) if low < 0 < high else ():
        best = _shrunk(flat, best, moved, bits, power, candidates)
    return Quantiser.between(*best, bits)


def _shrunk(flat: Tensor, ends: tuple[float, float], moved: tuple[bool, bool], bits: int, power: float, candidates: int) -> tuple[float, float]:
    """The best of the ranges with the named ends multiplied by 1/n, 2/n, ... 1."""

    def loss(pair: tuple[float, float]) -> float:
        return float((flat - Quantiser.between(*pair, bits)(flat)).abs().pow(power).mean())

    shares = [(k + 1) / candidates for k in reversed(range(candidates))]
    return min(((ends[0] * (f if moved[0] else 1), ends[1] * (f if moved[1] else 1)) for f in shares), key=loss)


def fit_channels(weight: Float[Tensor, "out inner"], bits: int = 8, power: float = POWER, candidates: int = CANDIDATES) -> Float[Tensor, " out"]:
    """Symmetric scales, one an output channel: levels -(2^(b-1) - 1) to 2^(b-1) - 1 times it."""
    check_bits(bits)
    w, top = weight.detach().double(), 2 ** (bits - 1) - 1
    largest = w.abs().amax(1)
    largest = torch.where(largest > 0, largest, torch.ones_like(largest))
    best, scale = torch.full_like(largest, float("inf")), largest / top
    for k in reversed(range(candidates)):
        s = largest * ((k + 1) / candidates) / top
        loss = (w - round_channels(w, s, bits) * s[:, None]).abs().pow(power).mean(1)
        better = loss < best
        best, scale = torch.where(better, loss, best), torch.where(better, s, scale)
    return scale


def round_channels(weight: Float[Tensor, "out inner"], scale: Float[Tensor, " out"], bits: int = 8) -> Float[Tensor, "out inner"]:
    """Integers of a weight under `fit_channels`'s scales."""
    top = 2 ** (bits - 1) - 1
    return (weight / scale[:, None]).round_().clamp_(-top, top)


def by_norm(x: Float[Tensor, "*batch dim channel"], quantiser: Quantiser) -> Float[Tensor, "*batch dim channel"]:
    """Vectors whose length is quantised and whose direction is kept, so that rounding commutes with every rotation and reflection.

    Rounding components instead turns a vector by up to ~2^-b, differently in every frame of reference.
    """
    norm = x.norm(dim=-2, keepdim=True)
    return x * (quantiser(norm) / norm.clamp(min=1e-30))


def sqnr(x: Tensor, rounded: Tensor) -> float:
    """Signal over quantisation noise, dB: 10 log10 (sum x^2 / sum (x - x^)^2); infinite where nothing was lost."""
    noise, signal = float((x.double() - rounded.double()).square().sum()), float(x.double().square().sum())
    if noise == 0:
        return float("inf")
    return 10 * float(torch.tensor(signal / noise, dtype=torch.float64).log10())
