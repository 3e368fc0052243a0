r"""Stochastic interpolants (Albergo, Boffi & Vanden-Eijnden 2023): from any distribution to any other, through noise of chosen size.

    x_t = I(t, x_src, x_dat) + gamma(t) z,   I = a(t) x_src + b(t) x_dat,   z ~ N(0, I),   gamma(0) = gamma(1) = 0
    drift = E[I' + gamma' z | x_t],  velocity = E[I' | x_t],  eta = E[z | x_t],  score = -eta / gamma,  drift = velocity - gamma gamma' score

Deterministic: dx = drift dt. With any diffusion eps(t) >= 0, chosen after training: dx = (drift + eps score) dt + sqrt(2 eps) dW.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.paths.bridge import Coefficients, Path, Point, spread
from trajlab.paths.gaussian import GaussianPath
from trajlab.paths.schedules import Rectified, VPCosine

#: (a, b, a', b') at t, and (gamma, gamma', gamma gamma') at t; all float64, of the shape of t.
Ends = Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
Gamma = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


def _linear(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    one = torch.ones_like(t)
    return 1 - t, t, -one, one


def _trigonometric(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    right = math.pi / 2
    # cos(pi t/2) as a sine, so that it is exactly 0 at t = 1.
    cos, sin = torch.sin(right * (1 - t)), torch.sin(right * t)
    return cos, sin, -right * sin, right * cos


def _encoding_decoding(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    weight, slope = torch.sin(math.pi * (t - 0.5)) ** 2, -math.pi * torch.sin(2 * math.pi * t)
    early, zero = t < 0.5, torch.zeros_like(t)
    return (torch.where(early, weight, zero), torch.where(early, zero, weight), torch.where(early, slope, zero), torch.where(early, zero, slope))


def _mirror(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    zero = torch.zeros_like(t)
    return zero, torch.ones_like(t), zero, zero


#: Interpolants by name: their ends, their usual gamma, and whether the source is noise ("one-sided").
SHAPES: dict[str, tuple[Ends, str, bool]] = {
    "linear": (_linear, "brownian", False),
    "trigonometric": (_trigonometric, "brownian", False),
    "encoding_decoding": (_encoding_decoding, "sinesquared", False),
    "mirror": (_mirror, "brownian", False),
    "one_sided_linear": (_linear, "zero", True),
    "one_sided_trigonometric": (_trigonometric, "zero", True),
}


def _brownian(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    c, cdc = (t * (1 - t)).sqrt(), (1 - 2 * t) / 2
    return c, cdc / c, cdc


def _bsquared(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    c, dc = t * (1 - t), 1 - 2 * t
    return c, dc, c * dc


def _sinesquared(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    c, dc = torch.sin(math.pi * torch.minimum(t, 1 - t)) ** 2, math.pi * torch.sin(2 * math.pi * t)
    return c, dc, c * dc


STEEP = 10.0  #: how fast the sigmoid gamma switches on and off


def _sigmoid(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    on, off = torch.sigmoid(STEEP * (t - 0.5) + 1), torch.sigmoid(STEEP * (t - 0.5) - 1)
    floor = torch.sigmoid(t.new_tensor(1 - STEEP / 2)) - torch.sigmoid(t.new_tensor(-1 - STEEP / 2))
    c = torch.where((t > 0) & (t < 1), (on - off - floor).clamp(min=0), torch.zeros_like(t))
    dc = STEEP * (on * (1 - on) - off * (1 - off))
    return c, dc, c * dc


def _zero(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    zero = torch.zeros_like(t)
    return zero, zero, zero


#: Sizes of the noise by name: sqrt(t (1-t)), t (1-t), sin^2(pi t), a difference of sigmoids, none.
GAMMAS: dict[str, Gamma] = {"brownian": _brownian, "bsquared": _bsquared, "sinesquared": _sinesquared, "sigmoid": _sigmoid, "zero": _zero}


@dataclass(frozen=True)
class Interpolant(Path):
    """A stochastic interpolant.

    Attributes:
        shape: one of `SHAPES`. ``encoding_decoding`` goes from data through pure noise at t = 1/2 to data (a plausible variation of the
            source); ``mirror`` starts from the sample itself and adds noise (a denoiser); ``one_sided_*`` start from N(0, I). Or, for a custom
            one, a function of t (float64) that gives (a, b, a', b').
        gamma: one of `GAMMAS`, or a function of t that gives (gamma, gamma', gamma gamma'); that of the shape's entry where None.
        scale: number that gamma is multiplied by. ``brownian`` with scale sqrt(s) is sqrt(s t (1 - t)), whose variance is a Brownian bridge's.
        gaussian_source: whether the source is N(0, I), independent of the data; then the score is determined even without gamma. As the shape's
            entry says where None.

    Raises:
        ValueError: an unknown shape or gamma, or a scale that is not positive.
    """

    shape: str | Ends = "linear"
    gamma: str | Gamma | None = None
    scale: float = 1.0
    gaussian_source: bool | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if isinstance(self.shape, str) and self.shape not in SHAPES:
            raise ValueError(unknown("interpolant", self.shape, SHAPES))
        if isinstance(self.gamma, str) and self.gamma not in GAMMAS:
            raise ValueError(unknown("gamma", self.gamma, GAMMAS))
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise ValueError(f"scale = {self.scale:g}; a positive number was wanted (gamma='zero' for none)")
        _, usual, noise = SHAPES[self.shape] if isinstance(self.shape, str) else (None, "brownian", False)
        object.__setattr__(self, "gamma", usual if self.gamma is None else self.gamma)
        object.__setattr__(self, "gaussian_source", noise if self.gaussian_source is None else self.gaussian_source)

    def coefficients(self, t: Tensor) -> Coefficients:
        t = t.double()
        a, b, da, db = (SHAPES[self.shape][0] if isinstance(self.shape, str) else self.shape)(t)
        c, dc, cdc = (GAMMAS[self.gamma] if isinstance(self.gamma, str) else self.gamma)(t)  # type: ignore[misc]
        return Coefficients(a, b, self.scale * c, da, db, self.scale * dc, self.scale**2 * cdc)

    def gaussian(self) -> GaussianPath:
        """The same path with a log-SNR clock, for the samplers that work in it.

        Raises:
            ValueError: the source is not N(0, I), there is a gamma, or the shape is a custom one.
        """
        known = {_linear: Rectified, _trigonometric: VPCosine}
        ends = SHAPES[self.shape][0] if isinstance(self.shape, str) else self.shape
        if not self.gaussian_source or self.gamma != "zero" or ends not in known:
            raise ValueError(f"{self} has no log-SNR; only one_sided_linear and one_sided_trigonometric without gamma have")
        return known[ends]()


def antithetic(path: Path, t: Tensor, source: Float[Tensor, "batch *event"], data: Float[Tensor, "batch *event"],
               noise: Float[Tensor, "batch *event"]) -> tuple[Point, Point]:
    """The points for +z and -z. Where gamma' grows as t^(-1/2), as for ``brownian``, the loss of the drift has a finite variance only if
    both are in it; the terms in gamma' then cancel at the end."""
    return path.at(t, source, data, noise), path.at(t, source, data, -noise)


def drift_integrand(drift: Tensor, point: Point) -> Tensor:
    """|d|^2/2 - (I' + gamma' z) d, elementwise; its expectation is least at the drift."""
    return 0.5 * drift**2 - point.velocity * drift


def eta_integrand(eta: Tensor, point: Point) -> Tensor:
    """|eta|^2/2 - z eta, elementwise; least at eta = E[z | x_t]."""
    return 0.5 * eta**2 - _noise(point) * eta


def score_integrand(score: Tensor, point: Point, path: Path) -> Tensor:
    """|s|^2/2 + z s / gamma, elementwise; least at the score. Grows without bound where gamma vanishes; prefer `eta_integrand`.

    Raises:
        ValueError: the path has no noise at one of the points.
    """
    c = spread(path.coefficients(point.t).c, score)
    if not bool((c > 0).all()):
        raise ValueError("the score cannot be regressed where gamma = 0; keep t inside (0, 1), or regress eta")
    return 0.5 * score**2 + _noise(point) * score / c


def velocity_integrand(velocity: Tensor, point: Point, path: Path) -> Tensor:
    """|v|^2/2 - I' v, elementwise; least at E[I' | x_t]."""
    k = path.coefficients(point.t)
    dc = torch.where(k.c > 0, k.dc, torch.zeros_like(k.dc))
    wanted = point.velocity if point.noise is None else point.velocity - spread(dc, velocity) * point.noise
    return 0.5 * velocity**2 - wanted * velocity


def _noise(point: Point) -> Tensor:
    if point.noise is None:
        raise ValueError("this path was walked without noise, so there is no eta or score to regress; regress the drift")
    return point.noise
