"""How much of the data a noisy state explains, at every noise level: what a kinetic-optimal path is made from.

On b x1 + a eps with b = sin(theta), a = cos(theta), log-SNR lam = log tan(theta), and mmse = E|x1 - E[x1 | x_t]|^2 per number of the data:

    Lam(theta) = 1 - mmse / cos^2(theta)  in [0, 1]:  0 for Gaussian data (isotropic), 1 for well separated points

which is (E|D|^2/d - sin^2)/cos^2 written so that neither end loses digits. Data have E|x1|^2/d = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.paths.centre import centred, degrees, spread_mask
from trajlab.paths.denoiser import Denoises
from trajlab.paths.empirical import Empirical
from trajlab.paths.schedules import VPCosine

#: Log-SNRs of a table; beyond them Lam stays what it is at the end.
NODES = torch.linspace(-9, 9, 721, dtype=torch.float64)
FEW = torch.linspace(-9, 9, 73, dtype=torch.float64)  # where every node costs calls of a denoiser


@dataclass(frozen=True)
class Explained:
    """Lam at log-SNRs, in between by linear interpolation.

    Attributes:
        lam: increasing log-SNRs, of data with mean square 1.
        share: Lam at each, within [0, 1]; what lies outside, as a noisy estimate may, is brought in.

    Raises:
        ValueError: fewer than two nodes, not increasing, or a value that is not a number.
    """

    lam: tuple[float, ...]
    share: tuple[float, ...]

    def __post_init__(self) -> None:
        lam, share = torch.tensor(self.lam, dtype=torch.float64), torch.tensor(self.share, dtype=torch.float64)
        if len(lam) < 2 or lam.shape != share.shape or not bool((lam.diff() > 0).all()) or not bool(torch.isfinite(lam).all()):
            raise ValueError(f"{len(lam)} log-SNRs and {len(share)} shares; as many of either, two or more, increasing and finite were wanted")
        if bool(torch.isnan(share).any()):
            raise ValueError(f"the share at lam = {float(lam[torch.isnan(share)][0]):g} is not a number")
        object.__setattr__(self, "share", tuple(share.clamp(0, 1).tolist()))

    def at(self, lam: Tensor) -> Tensor:
        """Lam at any log-SNR."""
        nodes, share = (torch.tensor(w, dtype=torch.float64, device=lam.device) for w in (self.lam, self.share))
        lam = lam.double().clamp(nodes[0], nodes[-1])
        low = (torch.searchsorted(nodes, lam.contiguous(), right=True) - 1).clamp(0, len(nodes) - 2)
        return torch.lerp(share[low], share[low + 1], (lam - nodes[low]) / (nodes[low + 1] - nodes[low]))

    @classmethod
    def from_mmse(cls, mmse: Callable[[Tensor], Tensor] | Sequence[float], lam: Tensor = NODES) -> Self:
        """From the least mean square error per number on b x1 + a eps, a^2 + b^2 = 1, at log-SNRs ``lam``."""
        error = mmse(lam) if callable(mmse) else torch.as_tensor(mmse, dtype=torch.float64)
        return cls(tuple(lam.tolist()), tuple((1 - error / torch.sigmoid(-2 * lam)).tolist()))

    @classmethod
    def points(cls) -> Self:
        """Well separated points: Lam = 1."""
        return cls((-1.0, 1.0), (1.0, 1.0))

    @classmethod
    def spectrum(cls, values: Float[Tensor, " d"]) -> Self:
        """Gaussian data with a covariance of these eigenvalues, whose mean is brought to 1.

        Raises:
            ValueError: an eigenvalue is negative, or none is positive.
        """
        values = values.double()
        if not len(values) or bool((values < 0).any()) or not float(values.sum()) > 0:
            raise ValueError("eigenvalues of a covariance were wanted: not negative, and not all zero")
        values = values / values.mean()
        lam = NODES[:, None]
        # mmse / a^2 = mean_i l_i / (b^2 l_i + a^2)
        return cls(tuple(NODES.tolist()), tuple((1 - (values / (torch.sigmoid(2 * lam) * values + torch.sigmoid(-2 * lam))).mean(1)).tolist()))

    @classmethod
    def covariance(cls, x: Float[Tensor, "batch *event"], mask: Bool[Tensor, "batch *part"] | None = None,
                   axes: Sequence[int] | None = None) -> Self:
        """Of the Gaussian with the second moments of ``x`` (mask and axes as in `measured`, but every entry is seen always or never)."""
        x, _, rank = prepared(x, mask, axes)
        flat = torch.where(_always(x, mask), x, torch.zeros_like(x)).flatten(1)
        values = torch.linalg.svdvals(flat) ** 2 / len(flat)
        return cls.spectrum(torch.cat([values, values.new_zeros(max(0, rank - len(values)))])[:rank])

    @classmethod
    def subset(cls, x: Float[Tensor, "batch *event"], generator: torch.Generator, mask: Bool[Tensor, "batch *part"] | None = None,
               axes: Sequence[int] | None = None, draws: int = 1) -> Self:
        """Of the empirical law of ``x`` itself, by its exact denoiser; costs batch^2 numbers a level, so pass a subset of a few thousand."""
        x, _, _ = prepared(x, mask, axes)
        always = _always(x, mask)
        x = torch.where(always, x, torch.zeros_like(x))
        return cls.measured(Empirical(x, VPCosine()), x, generator, None if mask is None else always, axes, draws)

    @classmethod
    def measured(cls, denoiser: Denoises, x: Float[Tensor, "batch *event"], generator: torch.Generator,
                 mask: Bool[Tensor, "batch *part"] | None = None, axes: Sequence[int] | None = None, draws: int = 1, **condition: Any) -> Self:
        """From the error of any denoiser on held-out data. An imperfect denoiser makes Lam too small.

        Args:
            denoiser: on any Gaussian path; asked at log-SNRs from -9 to 9, or as far as its path goes.
            x: ``[batch *event]``, standardised: mean square near 1 per free number.
            generator: for the noise.
            mask: True where observed; given to the denoiser.
            axes: those whose mean is taken out of data and noise (`centred`).
            draws: of noise for every sample and level.
            condition: given to the denoiser.

        Raises:
            ValueError: the mean square is not within 20 % of 1, or mask or axes do not fit.
        """
        x, square, _ = prepared(x, mask, axes)
        first, last = denoiser.path.ends
        lam = FEW[(first <= FEW) & (last >= FEW)]
        if len(lam) < 2:
            raise ValueError(f"the denoiser's path runs from lam = {first:g} to {last:g}; a range that holds two multiples of 0.25 was wanted")
        given = condition if mask is None else {"mask": mask, **condition}
        errors = torch.tensor([_error(denoiser, float(k), x, generator, given, axes, draws) for k in lam], dtype=torch.float64)
        # In units in which the mean square is exactly 1.
        return cls.from_mmse((errors / square).tolist(), lam + math.log(square) / 2)


def prepared(x: Tensor, mask: Tensor | None, axes: Sequence[int] | None) -> tuple[Tensor, float, int]:
    """Data with hidden entries zero and means taken out, their mean square per free number, and the least number of those in a row."""
    there = spread_mask(mask, x)
    x = torch.where(there, x, torch.zeros_like(x)) if axes is None else centred(x, mask, axes)
    free = degrees(x, mask, axes)
    square = float((x.double() ** 2).sum() / free.sum().clamp(min=1))
    if not 0.8 < square < 1.25:
        raise ValueError(f"the data have mean square {square:.4g} per free number; standardise them (mean square 1) before asking for a path")
    return x, square, int(free.min())


def _always(x: Tensor, mask: Tensor | None) -> Tensor:
    there = spread_mask(mask, x)
    if not bool((there == there[:1]).all()):
        raise ValueError("the mask hides different entries in different samples; pass a trained denoiser, which has the mask, or samples that agree")
    return there


def _error(denoiser: Denoises, lam: float, x: Tensor, generator: torch.Generator, given: dict[str, Any], axes: Sequence[int] | None,
           draws: int) -> float:
    """Mean square error per free number on b x + a eps with a^2 + b^2 = 1, whatever the denoiser's path.

    Told as the difference from that of the linear guess b x_t on the same noise, whose expectation is known: where Lam is small the two
    guesses are nearly the same, and so are their errors. Without this, Lam's noise, clipped at 0, would lengthen the angle.
    """
    level, mask, total = denoiser.path.level(lam), given.get("mask"), 0.0
    free = int(degrees(x, mask, axes).sum())
    for _ in range(draws):
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device).to(x.device)
        z = torch.where(spread_mask(mask, z), z, torch.zeros_like(z)) if axes is None else centred(z, mask, axes)
        with torch.no_grad():
            state = level.alpha * x + level.sigma * z
            found = denoiser(state, level, **given).x0
        linear = level.alpha / (level.alpha**2 + level.sigma**2) * state
        total += float(((found - x).double() ** 2 - (linear - x).double() ** 2)[spread_mask(mask, x)].sum())
    noise, square = level.sigma**2 / (level.alpha**2 + level.sigma**2), float((x.double() ** 2).sum()) / free
    return noise * (noise * square + 1 - noise) + total / (draws * free)
